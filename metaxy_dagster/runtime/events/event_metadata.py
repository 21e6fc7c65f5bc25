"""What Dagster is told about a feature: the metadata of materializations and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureGraph, FeatureKey, Filter
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.info import feature_info
from metaxy_dagster.features.tags import feature_tag
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.stores import Counts, MetadataStore, WriteResult
from metaxy_dagster.stores.results import FeatureSummary

__all__ = [
    "FeatureState",
    "VersionedBy",
    "feature_state",
    "version_tags",
    "write_metadata",
]

VersionedBy: TypeAlias = Literal["content", "created_at"]

_PREVIEW_ROWS = 5
_PREVIEW_TEXT = 80
_FAILURE_ROWS = 20


@dataclass(frozen=True)
class FeatureState:
    """What is stored of a feature, at one moment.

    Attributes:
        metadata: row counts, schema, a preview, versions and where it is.
        data_version: of the samples that an event is about.
        filters: which samples these are; none for all.
    """

    metadata: Mapping[str, Any]
    data_version: str
    filters: tuple[Filter, ...]


def feature_state(
    store: MetadataStore,
    key: FeatureKey,
    scope: Scope,
    *,
    versioned_by: VersionedBy = "content",
    preview: bool = True,
) -> FeatureState:
    """Look at a feature once, for an event.

    Args:
        store: where the feature is.
        key: the feature.
        scope: the samples of a run's partitions, whose number is then reported too.
        versioned_by: ``"content"`` for the exact data version, ``"created_at"`` for the mean
            time of creation, which costs no hash of the rows but misses changes in place.
        preview: whether rows are shown, and ids and errors of samples that failed.
    """
    with store.connected():
        schema = store.schema(key) if scope else {}
        filters = scope.filters(schema) if schema else ()
        found = store.summary(key, filters=filters, preview=_PREVIEW_ROWS)
        metadata = {**_metadata(store, key, found), **_failures(store, found)}
        if not preview:
            for shown in (c.KEY_PREVIEW, c.KEY_FAILURES):
                metadata.pop(shown, None)
        if scope:
            metadata[c.KEY_PARTITION_ROW_COUNT] = found.chosen
        mark = store.newest_commits([key]).get(key)
        if mark is not None:
            metadata[c.KEY_COMMIT] = str(mark)
        # Dagster shows entries in this order, and this one is as long as all others together.
        metadata[c.KEY_INFO] = metadata.pop(c.KEY_INFO)
        version = found.data_version
        if versioned_by == "created_at":
            version = _mean_created_at(store, key, filters)
    return FeatureState(metadata, version, filters)


def _metadata(store: MetadataStore, key: FeatureKey, found: FeatureSummary) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        c.KEY_ROW_COUNT: found.rows,
        c.KEY_TABLE_NAME: store.table_name(key),
        c.KEY_URI: store.uri,
        c.KEY_INFO: dg.MetadataValue.json(feature_info(store.graph, key)),
        c.KEY_STORE: store.display(),
        c.KEY_FEATURE: str(key),
        c.TAG_FEATURE_VERSION: store.graph.feature_version(key),
        c.TAG_CODE_VERSION: store.graph.code_version(key),
    }
    if found.preview is not None:
        said = _descriptions(store.graph.feature_class(key))
        metadata[c.KEY_COLUMN_SCHEMA] = dg.TableSchema(
            columns=[
                dg.TableColumn(name, kind, description=said.get(fold(name)))
                for name, kind in found.schema.items()
            ]
        )
        metadata[c.KEY_PREVIEW] = _table(found.preview)
    return metadata


def _descriptions(feature_class: type | None) -> dict[str, str | None]:
    """What a feature class says of its columns; the stored types say nothing of that."""
    declared: Mapping[str, Any] = getattr(feature_class, "model_fields", {})
    return {fold(info.alias or name): info.description for name, info in declared.items()}


def _failures(store: MetadataStore, found: FeatureSummary) -> dict[str, Any]:
    """Samples that could not be computed: as numbers, and the most recent ones as a table.

    Nothing where there are none: most features never have any, and would plot two flat lines.
    """
    failed = found.failed
    if not failed.failed:
        return {}
    metadata: dict[str, Any] = {
        c.KEY_FAILED: failed.failed,
        c.KEY_QUARANTINED: failed.quarantined,
    }
    if failed.outdated:
        metadata[c.KEY_OUTDATED] = failed.outdated
    frame = store.failures(failed.feature).drop(c.COL_MATERIALIZATION_ID).head(_FAILURE_ROWS)
    metadata[c.KEY_FAILURES] = _table(frame.collect(backend="pyarrow").to_native())
    return metadata


def _mean_created_at(store: MetadataStore, key: FeatureKey, filters: tuple[Filter, ...]) -> str:
    frame = store.read(key, filters=filters, columns=[c.COL_CREATED_AT])
    moments = frame.collect(backend="pyarrow")[c.COL_CREATED_AT]
    return str(moments.dt.timestamp("us").mean())


def version_tags(graph: FeatureGraph, key: FeatureKey) -> dict[str, str]:
    """The feature's versions as tags of an event, so that events can be found by them."""
    return {
        **({} if (value := feature_tag(str(key))) is None else {c.TAG_FEATURE: value}),
        c.TAG_FEATURE_VERSION: graph.feature_version(key),
        c.TAG_CODE_VERSION: graph.code_version(key),
    }


def write_metadata(result: WriteResult, counts: Counts | None) -> dict[str, Any]:
    """What one write did, as numbers, so that Dagster plots them over time.

    Args:
        result: the write.
        counts: the increment that it answered; without one, its own counts are reported.
    """
    # Only where there are any: most features never have some, and would plot a flat line.
    empty = {c.KEY_EMPTY: result.empty} if result.empty else {}
    return {
        c.KEY_NEW: result.new if counts is None else counts.new,
        c.KEY_STALE: result.updated if counts is None else counts.stale,
        c.KEY_ORPHANED: result.deleted if counts is None else counts.orphaned,
        c.KEY_WRITTEN: result.written,
        c.KEY_UNCHANGED: result.unchanged,
        c.KEY_DELETED: result.deleted,
        **empty,
        c.KEY_MATERIALIZED_IN_RUN: result.written,
    }


def _table(rows: Any) -> dg.TableMetadataValue:
    """An Arrow table, with text where Dagster's table records take no such value."""
    records = [
        dg.TableRecord({name: _shown(value) for name, value in row.items()})
        for row in rows.to_pylist()
    ]
    columns = [dg.TableColumn(name, _record_type(records, name)) for name in rows.column_names]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def _shown(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return text if len(text) <= _PREVIEW_TEXT else f"{text[:_PREVIEW_TEXT]}…"


def _record_type(records: list[dg.TableRecord], name: str) -> str:
    kinds = {type(record.data[name]) for record in records} - {type(None)}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds and kinds <= {int, float} else "string"
