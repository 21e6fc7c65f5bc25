"""Data versions of a user's own in a frame, told from those that a read filled in.

A frame that was read has data versions in every row: where nobody set one it is the provenance.
Written back as they are, such entries would stand still while the provenance moves on, and those
of an upstream would pass for the feature's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.stores.frames.checks import is_struct_of_text

__all__ = ["foreign_rows", "own_versions"]


def own_versions(
    rows: pa.Table, plan: FeaturePlan, versions: Collection[str], *, keep: bool = False
) -> pa.Table:
    """A frame whose data versions are its user's own; null where they follow the provenance.

    Args:
        rows: of a frame, with whatever system columns it came with.
        plan: the feature that they are written to.
        versions: of the feature, under which they may have been computed.
        keep: keep the column even if no entry is the user's own.

    Returns:
        The same rows; without ``metaxy_data_version_by_field`` where that says nothing.

    Raises:
        FrameError: the data versions are those of another feature, or not one text per field.
    """
    if c.COL_DATA_VERSION_BY_FIELD not in rows.column_names:
        return rows
    known = [str(field.key) for field in plan.fields]
    entries = _changed_entries(rows, known, str(plan.key))
    foreign = foreign_rows(rows, versions)
    for entry in entries.values() if foreign is not None else ():
        if pc.any(pc.and_(foreign, entry.is_valid())).as_py():
            raise _not_of(plan, rows, versions)
    unknown = [name for name in entries if name not in known]
    if any(entries[name].null_count < rows.num_rows for name in unknown) or not entries:
        raise _not_struct(str(plan.key), sorted(entries), known)
    number = rows.column_names.index(c.COL_DATA_VERSION_BY_FIELD)
    if not keep and all(entry.null_count == rows.num_rows for entry in entries.values()):
        return rows.remove_column(number)
    nothing = pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
    arrays = [_one_chunk(entries.get(name, nothing)) for name in known]
    struct = pa.StructArray.from_arrays(arrays, names=known)
    return rows.set_column(number, c.COL_DATA_VERSION_BY_FIELD, struct)


def foreign_rows(rows: pa.Table, versions: Collection[str]) -> pa.ChunkedArray | None:
    """Which rows say of themselves that they are another feature's; ``None`` if none says so."""
    if c.COL_FEATURE_VERSION not in rows.column_names:
        return None
    column = rows.column(c.COL_FEATURE_VERSION).cast(pa.string())
    known = pc.is_in(column, value_set=pa.array(sorted(versions), pa.string()))
    return pc.and_(pc.invert(known), column.is_valid())


def _changed_entries(
    rows: pa.Table, known: list[str], feature: str
) -> Mapping[str, pa.ChunkedArray]:
    """The entries of the data versions; null where they are the provenance beside them."""
    column = rows.column(c.COL_DATA_VERSION_BY_FIELD)
    if not is_struct_of_text(column.type):
        raise _not_struct(feature, str(column.type), known)
    provenance: dict[str, pa.ChunkedArray] = {}
    if c.COL_PROVENANCE_BY_FIELD in rows.column_names:
        beside = rows.column(c.COL_PROVENANCE_BY_FIELD)
        if is_struct_of_text(beside.type):
            provenance = {
                one.name: pc.struct_field(beside, one.name).cast(pa.string()) for one in beside.type
            }
    found = {}
    for one in column.type:
        entry = pc.struct_field(column, one.name).cast(pa.string())
        if one.name in provenance:
            same = pc.fill_null(pc.equal(entry, provenance[one.name]), fill_value=False)
            # No scalar: beside a part of a column, PyArrow before 24 gives wrong text for one.
            entry = pc.if_else(same, pa.nulls(len(entry), pa.string()), entry)
        found[one.name] = entry
    return found


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _not_struct(feature: str, found: object, known: list[str]) -> FrameError:
    return FrameError(
        f"{c.COL_DATA_VERSION_BY_FIELD} must be a struct of texts, one per field",
        feature=feature,
        found=found,
        allowed=sorted(known),
        remedy="name only fields of this feature",
    )


def _not_of(plan: FeaturePlan, rows: pa.Table, versions: Collection[str]) -> FrameError:
    found = rows.column(c.COL_FEATURE_VERSION).unique().to_pylist()
    return FrameError(
        "the frame carries the data versions of another feature, or of another version of it",
        feature=str(plan.key),
        found=f"{c.COL_FEATURE_VERSION} {sorted(map(str, set(found) - set(versions)))}",
        allowed=f"{c.COL_FEATURE_VERSION} {sorted(versions)}, or none",
        remedy="drop the metaxy_ columns that came with the rows, and set "
        f"{c.COL_DATA_VERSION_BY_FIELD} after that",
    )
