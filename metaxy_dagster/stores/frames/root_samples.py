"""A root's samples, from a frame: with provenance of their own, or that of their content."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.frames.checks import check_id_values, check_provenance
from metaxy_dagster.stores.frames.content import content_versions
from metaxy_dagster.stores.frames.given import own_versions
from metaxy_dagster.stores.frames.rows import check_ids, to_arrow

__all__ = ["prepare_samples", "with_content_versions"]


def prepare_samples(plan: FeaturePlan, feature_version: str, samples: Any) -> pa.Table | None:
    """The samples that a root should have, with their provenance.

    Raises:
        FrameError: a root without samples, samples for a derived feature, or a bad frame.
    """
    if plan.is_root is (samples is not None):
        if samples is None:
            return None
        return _with_provenance(samples, plan, feature_version)
    if plan.is_root:
        problem, remedy = (
            "a feature without upstreams cannot tell by itself what has changed",
            "pass samples=, a frame with the samples that there should be",
        )
    else:
        problem, remedy = (
            "the samples of a derived feature follow from its upstreams",
            "leave samples= out, or narrow the increment by filters=",
        )
    raise FrameError(problem, feature=str(plan.key), remedy=remedy)


def _with_provenance(samples: Any, plan: FeaturePlan, feature_version: str) -> pa.Table:
    table = to_arrow(samples, str(plan.key))
    check_ids(table, plan.spec)
    check_id_values(table, plan)
    table = own_versions(table, plan, {feature_version})
    if c.COL_PROVENANCE_BY_FIELD in table.column_names:
        check_provenance(table, plan, feature_version)
        return table
    return with_content_versions(table, plan)


def with_content_versions(table: pa.Table, plan: FeaturePlan) -> pa.Table:
    """A root's provenance: the content of each field's columns, hashed row by row."""
    ids = {fold(name) for name in plan.spec.id_columns}
    everything = tuple(
        name
        for name in table.column_names
        if fold(name) not in ids and not name.startswith(c.PREFIX)
    )
    known, arrays, names = set(table.column_names), [], []
    # Fields that are made of the same columns have the same content.
    hashed: dict[tuple[str, ...], pa.Array] = {}
    for field in plan.spec.fields:
        wanted = everything if field.columns is None else field.columns
        missing = [name for name in wanted if name not in known]
        if missing:
            raise FrameError(
                f"field {str(field.key)!r} is made of columns that the frame lacks",
                feature=str(plan.key),
                found=f"missing {missing}; the frame has {table.column_names}",
                remedy="return these columns, or correct the columns of the field",
            )
        try:
            if wanted not in hashed:
                hashed[wanted] = content_versions(table, wanted)
        except FrameError as error:
            raise error.located(feature=str(plan.key)) from error
        arrays.append(hashed[wanted])
        names.append(str(field.key))
    struct = pa.StructArray.from_arrays(arrays, names=names)
    return table.append_column(c.COL_PROVENANCE_BY_FIELD, struct)
