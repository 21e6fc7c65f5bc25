"""What functions write themselves is told as a run finds it."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from refused_assets import (
    INCREMENT,
    ON_RAW,
    keys,
    made,
    raw,
)

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def nothing_of_raw(raw: pl.DataFrame) -> None:
    raw.head()


def writes_plain(raw: pl.DataFrame, store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    if raw.height:
        store.write("x", raw)


def writes_unannotated(raw: pl.DataFrame, store: dg.ResourceParam[mxd.MetadataStore]):
    if raw.height:
        store.write("x", raw)


def writes_pending(raw: pl.DataFrame, store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    increment = store.resolve_update("x")
    if raw.height:
        store.write("x", raw, increment=increment)


def reports_empty(raw: pl.DataFrame) -> None:
    if raw.height:
        mxd.report_empty(raw.select("id"))


def asks_and_writes(store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    increment = store.resolve_update("x")
    store.write("x", increment.pending.collect().to_native().select(["id"]), increment=increment)


#: Functions that return nothing: what the plan says of them, and whether a run succeeds.
OWN_WRITES = {
    "pending samples, plain": (writes_plain, INCREMENT, "without the increment", False),
    "pending samples, unannotated": (writes_unannotated, INCREMENT, "without the increment", False),
    "pending samples, with their increment": (writes_pending, INCREMENT, None, True),
    "pending samples that yield nothing": (reports_empty, INCREMENT, None, True),
    "pending samples, not written": (nothing_of_raw, INCREMENT, None, True),
    "an increment of its own": (asks_and_writes, {**INCREMENT, **ON_RAW}, None, True),
    "all samples, plain": (writes_plain, {}, "what its function writes itself is refused", False),
    "all samples, with an increment": (writes_pending, {}, None, True),
    "all samples, not written": (nothing_of_raw, {}, None, True),
}


@pytest.mark.parametrize("kind", OWN_WRITES)
def test_what_functions_write_themselves_is_told_as_a_run_finds_it(instance, kind):
    body, given, said, succeeds = OWN_WRITES[kind]
    deps = [raw] if body is asks_and_writes else None
    legacy = dg.Definitions(assets=[raw, made(body, deps=deps, metadata=keys(**given))])
    plan = mxd.plan_definitions(legacy, features=[])
    assert plan.errors == ()
    about = [n.message for n in plan.notices if n.asset == "x" and "its body also" not in n.message]
    assert [said in message for message in about] == ([True] if said else [])
    store = mxd.DuckDBMetadataStore(f"{instance.storage_directory()}/m.duckdb")
    with mxd.FeatureGraph().use():
        defs = mxd.metaxify_definitions(legacy, features=[], store=store)
        job = defs.resolve_implicit_global_asset_job_def()
    if succeeds:
        assert job.execute_in_process(instance=instance).success
    else:
        with pytest.raises(mxd.FrameError, match="provenance of these rows is unknown"):
            job.execute_in_process(instance=instance)
