"""A Dagster type for a feature: what an asset of it may return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureGraph, FeatureKey
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.info import feature_info
from metaxy_dagster.late import narwhals as nw

__all__ = ["feature_to_dagster_type"]


def feature_to_dagster_type(
    feature: CoercibleToFeatureKey,
    *,
    name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    graph: FeatureGraph | None = None,
) -> dg.DagsterType:
    """Make a type that accepts frames which can be samples of a feature, and None.

    A frame of any kind passes if it has the feature's id columns, and the columns that its class
    requires.

    Args:
        feature: key, spec or class.
        name: by default the feature's key, with underscores.
        description: by default the feature's.
        metadata: more metadata of the type.
        graph: the features; by default the current graph.

    Raises:
        FeatureError: no such feature.

    Example:
        >>> from metaxy_dagster import FeatureGraph, FeatureSpec
        >>> with FeatureGraph().use() as graph:
        ...     _ = graph.add(FeatureSpec("video/raw", id_columns=["video_id"]))
        ...     kind = feature_to_dagster_type("video/raw")
        >>> kind.unique_name
        'video_raw'
    """
    known = graph if graph is not None else FeatureGraph.current()
    key = FeatureKey(feature)
    spec = known[key]
    declared = ClassColumns.of(known.feature_class(key))
    required = dict.fromkeys([*spec.id_columns, *declared.missing(())])

    def check(_context: dg.TypeCheckContext, value: Any) -> dg.TypeCheck:
        return _checked(value, str(key), list(required))

    return dg.DagsterType(
        type_check_fn=check,
        name=name or "_".join(key.parts).replace(".", "_").replace("-", "_"),
        description=description or spec.description or f"Samples of the feature {key}.",
        metadata={
            **(metadata or {}),
            c.KEY_FEATURE: str(key),
            c.KEY_INFO: dg.MetadataValue.json(feature_info(known, key)),
        },
    )


def _checked(value: Any, feature: str, required: list[str]) -> dg.TypeCheck:
    if value is None:
        return dg.TypeCheck(success=True)
    try:
        names = list(nw.from_native(value).collect_schema())
    except TypeError:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return dg.TypeCheck(
            success=False,
            description=f"feature {feature!r}: a frame with one row per sample was expected, "
            f"not {kind}",
        )
    missing = [column for column in required if column not in names]
    if missing:
        return dg.TypeCheck(
            success=False,
            description=f"feature {feature!r}: columns {missing} are missing; the frame has "
            f"{names}",
        )
    return dg.TypeCheck(success=True, metadata={"columns": len(names)})
