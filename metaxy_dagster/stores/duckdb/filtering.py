"""Parsed filters become SQL conditions: columns quoted, values bound, never a text pasted in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import (
    And,
    Between,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Not,
    Or,
    parse_filter,
)
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.spans import Within
from metaxy_dagster.stores.duckdb.provenance import Values
from metaxy_dagster.stores.duckdb.textual_times import within

__all__ = ["FilterLike", "condition", "parsed"]

_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
    *("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)

FilterLike: TypeAlias = str | Filter


def parsed(filters: object) -> tuple[Filter, ...]:
    """One filter, several (all must hold) or none, each as text or already parsed.

    Raises:
        StoreError: something that is neither text nor a parsed filter.
    """
    if filters is None:
        return ()
    given = filters if isinstance(filters, (list, tuple)) else (filters,)
    found = []
    for one in given:
        if isinstance(one, str):
            found.append(parse_filter(one))
        elif isinstance(one, Filter):
            found.append(one)
        else:
            raise StoreError(
                "this filter cannot be used here",
                found=type(one).__qualname__,
                allowed='text such as "height > 720", or a parsed filter',
                remedy="write the condition as text",
            )
    return tuple(found)


def condition(
    filters: Iterable[Filter],
    columns: Mapping[str, str],
    values: Values,
    *,
    where: str,
    types: Mapping[str, str] | None = None,
    exact: bool = True,
) -> str:
    """All filters as one SQL condition; ``TRUE`` for none. NULL counts as false.

    Args:
        filters: parsed filters.
        columns: for each column that may be named, the SQL that reads it.
        values: receives the literals.
        where: what is being filtered, for the error.
        types: the DuckDB types of columns, as far as they are known.
        exact: make NULL false; not needed of the whole of a WHERE, where DuckDB passes over blocks
            of rows by the bare condition.

    Raises:
        StoreError: a filter names a column that is not there, or compares it with a literal of
            another kind.
    """
    folded = {fold(name): sql for name, sql in columns.items()}
    kinds = {fold(name): kind for name, kind in (types or {}).items()}
    writer = _Writer(folded, kinds, values, where)
    terms = [writer.write(one) for one in filters]
    if not terms:
        return "TRUE"
    return f"coalesce({' AND '.join(terms)}, FALSE)" if exact else " AND ".join(terms)


class _Writer:
    def __init__(
        self, columns: Mapping[str, str], types: Mapping[str, str], values: Values, where: str
    ) -> None:
        self._columns = columns
        self._types = types
        self._values = values
        self._where = where

    def write(self, node: Filter) -> str:
        match node:
            case Compare(column, op, value):
                sql = f"{self._column(column)} {op} {self._bind(column, value)}"
            case In(column, items, negated):
                bound = ", ".join(self._bind(column, item) for item in items)
                sql = f"{self._column(column)} {_not(negated)}IN ({bound})"
            case IsNull(column, negated):
                sql = f"{self._column(column)} IS {_not(negated)}NULL"
            case Like(column, pattern, negated):
                bound = self._bind(column, pattern, like=True)
                sql = f"{self._column(column)} {_not(negated)}LIKE {bound}"
            case Between(column, low, high, negated):
                span = f"{self._bind(column, low)} AND {self._bind(column, high)}"
                sql = f"{self._column(column)} {_not(negated)}BETWEEN {span}"
            case And(parts):
                sql = " AND ".join(map(self.write, parts))
            case Or(parts):
                sql = " OR ".join(map(self.write, parts))
            case Not(part):
                sql = f"NOT {self.write(part)}"
            case Within(column):
                sql = within(node, self._text(column), self._values)
        return f"({sql})"

    def _bind(self, column: str, value: str | float, *, like: bool = False) -> str:
        kind = self._types.get(fold(column), "")
        number = kind.startswith(_NUMBERS)
        # What DuckDB would refuse too, but only when the frame is collected.
        if (
            (
                number
                and (isinstance(value, bool) or (isinstance(value, str) and not _is_number(value)))
            )
            or (kind == "VARCHAR" and not isinstance(value, str))
            or (like and kind not in ("", "VARCHAR"))
        ):
            raise StoreError(
                f"a filter on {self._where} compares {column!r} with a value of another kind",
                found=f"{value!r}, while the column is {kind}",
                remedy="write numbers, true and false bare, and text in single quotes",
            )
        return self._values.bind(value)

    def _text(self, column: str) -> str:
        """A column as text; of a number, its digits."""
        is_text = self._types.get(fold(column), "") in ("", "VARCHAR")
        return self._column(column) if is_text else f"CAST({self._column(column)} AS VARCHAR)"

    def _column(self, name: str) -> str:
        try:
            return self._columns[fold(name)]
        except KeyError:
            raise StoreError(
                f"a filter names a column that {self._where} does not have",
                found=name,
                allowed=sorted(self._columns),
                remedy="correct the filter, or store the column with the samples",
            ) from None


def _is_number(text: str) -> bool:
    """Partition keys are text even where the column that holds them is not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _not(negated: bool) -> str:  # noqa: FBT001 - a flag of the parsed node
    return "NOT " if negated else ""
