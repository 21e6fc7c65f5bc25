"""Rows of which only some columns are stored; their versions are those of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.frames.checks import check_columns
from metaxy_dagster.stores.frames.root_samples import with_content_versions
from metaxy_dagster.stores.frames.rows import Rows, check_ids, to_rows

__all__ = ["kept_rows"]


def kept_rows(
    frame: Any,
    plan: FeaturePlan,
    columns: Sequence[str],
    declared: ClassColumns,
    *,
    answers: bool = False,
    stored: Iterable[str] = (),
) -> Rows:
    """Rows without the columns that are not to be stored.

    A root's rows get the provenance of all that they held, so that a change of what is not stored
    is a change.

    Args:
        frame: one row per sample, anything narwhals accepts.
        plan: the feature.
        columns: what is stored beside ids and system columns; those that the rows lack are passed
            over.
        declared: the columns of the feature's class, which are those of the whole rows.
        answers: whether an increment brings their provenance.
        stored: columns that are stored already; they are emptied, if they are not to be.

    Raises:
        FrameError: the whole rows are refused.

    Example:
        >>> from metaxy_dagster.features import FeatureGraph, FeatureSpec
        >>> graph = FeatureGraph()
        >>> _ = graph.add(FeatureSpec("image", id_columns=["id"]))
        >>> rows = pa.table({"id": [1], "path": ["a"], "pixels": [[0, 1]]})
        >>> kept_rows(rows, graph.plan("image"), ["path"], ClassColumns()).column_names
        ['id', 'path', 'metaxy_provenance_by_field']
    """
    rows = to_rows(frame, str(plan.key))
    if isinstance(rows, pa.Table) and answers and not rows.num_rows:
        return rows.select([])
    names, empty = list(rows.schema.names), rows.schema.empty_table()
    check_ids(empty, plan.spec, typed=False)
    check_columns(empty, plan, declared)
    wanted = {*map(fold, plan.spec.id_columns), *map(fold, columns)}
    left = [name for name in names if name.startswith(c.PREFIX) or fold(name) in wanted]
    hashed = plan.is_root and not answers and c.COL_PROVENANCE_BY_FIELD not in names

    there = set(map(fold, left))
    emptied = [name for name in stored if fold(name) not in there]

    def kept(part: pa.Table) -> pa.Table:
        chosen = part.select(left)
        if hashed:
            versions = with_content_versions(part, plan).column(c.COL_PROVENANCE_BY_FIELD)
            chosen = chosen.append_column(c.COL_PROVENANCE_BY_FIELD, versions)
        for name in emptied:
            chosen = chosen.append_column(name, pa.nulls(part.num_rows))
        return chosen

    if isinstance(rows, pa.Table):
        return kept(rows)
    schema = kept(empty).schema
    parts = (kept(pa.Table.from_batches([batch])) for batch in rows)
    batches = (batch for part in parts for batch in part.cast(schema).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)
