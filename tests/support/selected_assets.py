"""Assets that are tied to features, and what a job selects of them."""

from __future__ import annotations


def feature(key, **more):
    return {"metadata": {"metaxy/feature": key, **more}}


def selected(defs, name):
    job = defs.resolve_job_def(name)
    return sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
