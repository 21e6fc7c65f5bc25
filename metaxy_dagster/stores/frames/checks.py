"""What a frame must be before any store takes it: its columns, its ids, its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import fold

__all__ = [
    "SHOWN",
    "SeenIds",
    "SeenProvenance",
    "check_columns",
    "check_id_values",
    "check_provenance",
    "column_warnings",
    "is_struct_of_text",
    "is_text",
    "not_unique",
    "spelt_otherwise",
]

# Examples in an error.
SHOWN = 5


def check_columns(table: pa.Table, plan: FeaturePlan, declared: ClassColumns) -> None:
    """Refuse reserved names; and columns other than those of a feature class that is closed.

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
    if not declared.is_closed:
        return
    user = [name for name in table.column_names if not name.startswith(c.PREFIX)]
    ids = set(map(fold, plan.spec.id_columns))
    unknown = [name for name in declared.unknown(user) if fold(name) not in ids]
    missing = declared.missing(user)
    if unknown or missing:
        raise FrameError(
            "the frame does not have the columns of the feature class, which forbids others",
            feature=feature,
            found=f"unknown {sorted(unknown)}, missing {sorted(missing)}",
            allowed=sorted({*declared.kinds, *plan.spec.id_columns}),
            remedy="return exactly the declared columns, or let the class have others: drop "
            'extra="forbid" from its model_config',
        )


def column_warnings(columns: Iterable[str], declared: ClassColumns) -> tuple[str, ...]:
    """What a frame lacks that its feature class declares; none of it is a reason to refuse it."""
    missing = declared.missing(columns)
    if not missing:
        return ()
    noun = "column" if len(missing) == 1 else "columns"
    names = ", ".join(map(repr, missing))
    return (
        f"the frame lacks the {noun} {names}, which the feature class declares without a default",
    )


def check_id_values(table: pa.Table, plan: FeaturePlan) -> None:
    """Refuse null ids, and ids that occur more than once.

    Raises:
        FrameError: with some of the ids concerned.
    """
    seen = SeenIds(plan)
    seen.add(table)
    seen.check_nulls()
    if seen.ascend:
        return
    ids = list(plan.spec.id_columns)
    column = table.column(ids[0])
    # The usual cases first, each several times faster than the next.
    if len(ids) == 1 and _is_simple(column.type):  # noqa: SIM102 - the second is costly
        if pc.count_distinct(column).as_py() == table.num_rows:
            return
    groups = table.select(ids).group_by(ids).aggregate([([], "count_all")])
    if groups.num_rows < table.num_rows:
        doubled = groups.filter(pc.greater(groups.column("count_all"), 1))
        raise not_unique(plan, doubled.num_rows, doubled.slice(0, SHOWN).to_pylist(), "count_all")


def not_unique(
    plan: FeaturePlan, number: int, examples: Sequence[Mapping[str, object]], times: str
) -> FrameError:
    """The error of ids that occur more than once.

    Args:
        plan: the feature.
        number: of such ids.
        examples: some of them.
        times: the entry of each that says how often it occurs.
    """
    told = ", ".join(
        f"{ {name: value for name, value in each.items() if name != times} } {each[times]} times"
        for each in examples
    )
    return FrameError(
        "ids must be unique within one write",
        feature=str(plan.key),
        found=f"{number} ids occur more than once, for example {told}",
        remedy=f"drop the duplicates, or add the column that tells the rows apart to "
        f"id_columns {list(plan.spec.id_columns)}",
    )


def _is_simple(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind))


class SeenIds:
    """What the ids of a frame are like, of which one part is seen after the other.

    Attributes:
        ascend: whether each is greater than the one before it, so that all are unique; only
            found out of a single column of integers or texts.
    """

    def __init__(self, plan: FeaturePlan) -> None:
        self._plan = plan
        self._rows = 0
        self._nulls = dict.fromkeys(plan.spec.id_columns, 0)
        self._last: pa.ChunkedArray | None = None
        self.ascend = len(plan.spec.id_columns) == 1

    def add(self, part: pa.Table) -> None:
        """See some more rows."""
        self._rows += part.num_rows
        for name in self._nulls:
            self._nulls[name] += part.column(name).null_count
        if not self.ascend or not part.num_rows:
            return
        column = part.column(self._plan.spec.id_columns[0])
        self.ascend = _is_simple(column.type)
        if self.ascend:
            ascend = pc.less(column.slice(0, part.num_rows - 1), column.slice(1))
            self.ascend = pc.all(ascend, min_count=0).as_py()
        if self.ascend and self._last is not None:
            self.ascend = bool(pc.less(self._last[0], column[0]).as_py())
        self._last = column.slice(part.num_rows - 1)

    def check_nulls(self) -> None:
        """Refuse ids that are null.

        Raises:
            FrameError: with their number.
        """
        for name, nulls in self._nulls.items():
            if nulls:
                raise FrameError(
                    f"id column {name!r} has nulls",
                    feature=str(self._plan.key),
                    found=f"{nulls} of {self._rows} rows",
                    remedy="give every sample an id, or drop the rows without one",
                )


def check_provenance(table: pa.Table, plan: FeaturePlan, feature_version: str) -> None:
    """Refuse provenance that is not this feature's: other fields, nulls, another version.

    Raises:
        FrameError: with what was found.
    """
    seen = SeenProvenance(plan, feature_version)
    seen.add(table)
    seen.check()


class SeenProvenance:
    """What the provenance of a frame is like, of which one part is seen after the other."""

    def __init__(self, plan: FeaturePlan, feature_version: str) -> None:
        self._plan = plan
        self._version = feature_version
        self._fields = sorted(str(field.key) for field in plan.fields)
        self._found: object = None
        self._nulls = 0
        self._versions: set[object] = set()

    def add(self, part: pa.Table) -> None:
        """See some more rows."""
        column = part.column(c.COL_PROVENANCE_BY_FIELD)
        self._found = str(column.type)
        self._nulls += column.null_count
        if is_struct_of_text(column.type):
            self._found = sorted(field.name for field in column.type)
            self._nulls += sum(entry.null_count for entry in column.flatten())
        if c.COL_FEATURE_VERSION in part.column_names:
            # Rows that were invalidated have none.
            found = part.column(c.COL_FEATURE_VERSION).drop_null().unique()
            self._versions.update(found.to_pylist())

    def check(self) -> None:
        """Refuse other fields, nulls, another version.

        Raises:
            FrameError: with what was found.
        """
        feature = str(self._plan.key)
        if self._found != self._fields or self._nulls:
            raise FrameError(
                f"{c.COL_PROVENANCE_BY_FIELD} must be a struct with one text per field in every "
                "row",
                feature=feature,
                found=f"{self._found}, {self._nulls} nulls",
                allowed=self._fields,
                remedy="keep the column as the increment gave it",
            )
        if self._versions - {self._version}:
            raise FrameError(
                "the frame carries the provenance of another feature, or of another version",
                feature=feature,
                found=f"{c.COL_FEATURE_VERSION} {sorted(map(str, self._versions))}",
                allowed=self._version,
                remedy="drop the metaxy_ columns of the upstream and write with increment=, or "
                "resolve again after the feature was changed",
            )


def is_struct_of_text(kind: pa.DataType) -> bool:
    """Whether a type is a struct whose entries are all text."""
    types = pa.types
    return types.is_struct(kind) and all(is_text(f.type) or types.is_null(f.type) for f in kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of those of text."""
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def spelt_otherwise(texts: pa.ChunkedArray, *, all_numbers: bool = True) -> list[object]:
    """Some of the texts that are not how a whole number is written, such as ``007``.

    Args:
        texts: of ids.
        all_numbers: whether all should be numbers; otherwise only those that a database would
            take for one are looked at.

    Example:
        >>> spelt_otherwise(pa.chunked_array([["7", "-1", "007"]]))
        ['007']
    """
    plain = pc.match_substring_regex(texts.cast(pa.string()), "^(0|-?[1-9][0-9]*)$")
    if not all_numbers:
        taken = pc.match_substring_regex(texts.cast(pa.string()), r"^\s*[-+]?[0-9][0-9.eE_+-]*\s*$")
        plain = pc.or_(plain, pc.invert(taken))
    found: list[object] = texts.filter(pc.invert(plain)).slice(0, SHOWN).to_pylist()
    return found
