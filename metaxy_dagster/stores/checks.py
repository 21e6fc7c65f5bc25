"""What a frame must be before any store takes it: its columns, its ids, its provenance."""

from __future__ import annotations

from collections.abc import Mapping

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.late import pyarrow as pa

__all__ = [
    "check_columns",
    "check_id_values",
    "check_provenance",
    "declared_columns",
    "is_struct_of_text",
]

_SHOWN = 5


def check_columns(table: pa.Table, plan: FeaturePlan, declared: Mapping[str, bool] | None) -> None:
    """Refuse reserved names, and columns other than those that a feature class declares.

    Raises:
        FrameError: with the columns concerned.
    """
    feature = str(plan.key)
    known = {*c.SYSTEM_COLUMNS, *c.INTERNAL_COLUMNS}
    reserved = [n for n in table.column_names if n.lower().startswith(c.PREFIX) and n not in known]
    if reserved:
        raise FrameError(
            f"column names that begin with {c.PREFIX!r} are reserved",
            feature=feature,
            found=reserved,
            remedy="rename these columns",
        )
    # It would hide the row number by which the store finds a row again.
    if any(name.lower() == "rowid" for name in table.column_names):
        raise FrameError(
            "a column is named 'rowid', as DuckDB names the number of a row",
            feature=feature,
            found=table.column_names,
            remedy="rename this column",
        )
    if not declared:
        return
    user = {name for name in table.column_names if not name.startswith(c.PREFIX)}
    allowed = {*declared, *plan.spec.id_columns}
    required = {name for name, needed in declared.items() if needed}
    if user - allowed or required - user:
        raise FrameError(
            "the frame does not have the columns that the feature class declares",
            feature=feature,
            found=f"unknown {sorted(user - allowed)}, missing {sorted(required - user)}",
            allowed=sorted(allowed),
            remedy="return exactly the declared columns, or change the feature class",
        )


def check_id_values(table: pa.Table, plan: FeaturePlan) -> None:
    """Refuse null ids, and ids that occur more than once.

    Raises:
        FrameError: with some of the ids concerned.
    """
    ids = list(plan.spec.id_columns)
    feature = str(plan.key)
    for name in ids:
        nulls = table.column(name).null_count
        if nulls:
            raise FrameError(
                f"id column {name!r} has nulls",
                feature=feature,
                found=f"{nulls} of {table.num_rows} rows",
                remedy="give every sample an id, or drop the rows without one",
            )
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to import, only needed here

    column = table.column(ids[0])
    simple = pa.types.is_integer(column.type) or pa.types.is_string(column.type)
    # The usual cases first, each several times faster than the next.
    if len(ids) == 1 and simple:
        ascends = pc.less(column.slice(0, table.num_rows - 1), column.slice(1))
        if table.num_rows < 2 or pc.all(ascends).as_py():  # noqa: PLR2004 - a pair
            return
        if pc.count_distinct(column).as_py() == table.num_rows:
            return
    groups = table.select(ids).group_by(ids).aggregate([([], "count_all")])
    if groups.num_rows < table.num_rows:
        doubled = groups.filter(pc.greater(groups.column("count_all"), 1))
        raise FrameError(
            "ids must be unique within one write",
            feature=feature,
            found=f"{doubled.num_rows} ids occur more than once, for example "
            f"{doubled.slice(0, _SHOWN).to_pylist()}",
            remedy=f"drop the duplicates, or add the column that tells the rows apart to "
            f"id_columns {ids}",
        )


def check_provenance(table: pa.Table, plan: FeaturePlan, feature_version: str) -> None:
    """Refuse provenance that is not this feature's: other fields, nulls, another version.

    Raises:
        FrameError: with what was found.
    """
    feature = str(plan.key)
    column = table.column(c.COL_PROVENANCE_BY_FIELD)
    fields = {str(field.key) for field in plan.fields}
    found: object = str(column.type)
    nulls = column.null_count
    if is_struct_of_text(column.type):
        found = sorted(field.name for field in column.type)
        nulls += sum(entry.null_count for entry in column.flatten())
    if found != sorted(fields) or nulls:
        raise FrameError(
            f"{c.COL_PROVENANCE_BY_FIELD} must be a struct with one text per field in every row",
            feature=feature,
            found=f"{found}, {nulls} nulls",
            allowed=sorted(fields),
            remedy="keep the column as the increment gave it",
        )
    if c.COL_FEATURE_VERSION in table.column_names:
        versions = set(table.column(c.COL_FEATURE_VERSION).unique().to_pylist())
        if versions - {feature_version}:
            raise FrameError(
                "the frame carries the provenance of another feature, or of another version",
                feature=feature,
                found=f"{c.COL_FEATURE_VERSION} {sorted(map(str, versions))}",
                allowed=feature_version,
                remedy="drop the metaxy_ columns of the upstream and write with increment=, or "
                "resolve again after the feature was changed",
            )


def is_struct_of_text(kind: pa.DataType) -> bool:
    """Whether a type is a struct whose entries are all text."""
    types = pa.types
    text = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    return types.is_struct(kind) and all(any(is_(f.type) for is_ in text) for f in kind)


def declared_columns(cls: type | None) -> Mapping[str, bool] | None:
    """The columns that a feature class declares, and whether a frame must have them."""
    fields = getattr(cls, "model_fields", None)
    if not fields:
        return None
    return {field.alias or name: field.is_required() for name, field in fields.items()}
