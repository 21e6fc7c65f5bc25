"""What is told of a feature and its versions: the value of ``metaxy/info``."""

from __future__ import annotations

from typing import Any

from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.features.keys import CoercibleToFeatureKey

__all__ = ["feature_info"]


def feature_info(graph: FeatureGraph, key: CoercibleToFeatureKey) -> dict[str, Any]:
    """A feature, its fields and its deps with all versions, as JSON.

    Args:
        graph: the features.
        key: one of them.

    Returns:
        ``{"feature": {"key", "version", "code_version", "id_columns"},
        "fields": {field: {"version", "code_version", "parents"}},
        "deps": [{"feature", "lineage", "on", "optional"}]}``.

    Raises:
        FeatureError: the graph has no such feature, or lacks one of its upstreams.

    Example:
        >>> from metaxy_dagster.features import FeatureSpec
        >>> graph = FeatureGraph()
        >>> _ = graph.add(FeatureSpec("video/raw", id_columns=["video_id"]))
        >>> info = feature_info(graph, "video/raw")
        >>> info["feature"]["key"], list(info["fields"]), info["deps"]
        ('video/raw', ['default'], [])
    """
    plan = graph.plan(key)
    return {
        "feature": {
            "key": str(plan.key),
            "version": graph.feature_version(key),
            "code_version": graph.code_version(key),
            "id_columns": list(plan.spec.id_columns),
        },
        "fields": {
            str(field.key): {
                "code_version": field.code_version,
                "version": field.version,
                "parents": [str(parent) for parent in field.parents],
            }
            for field in plan.fields
        },
        "deps": [
            {
                "feature": str(dep.upstream.key),
                "lineage": dep.lineage_type,
                "on": list(dep.join_columns),
                "optional": dep.dep.optional,
            }
            for dep in plan.deps
        ],
    }
