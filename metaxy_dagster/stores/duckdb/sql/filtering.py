"""Parsed filters become SQL conditions: columns quoted, values bound, never a text pasted in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any, TypeAlias

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import (
    And,
    Between,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Member,
    Not,
    Or,
)
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.expressions import is_expression
from metaxy_dagster.features.given_filters import filter_of
from metaxy_dagster.features.operands import MAX_CONDITIONS, column_text, root
from metaxy_dagster.features.spans import Within
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.identifiers import literal, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.duckdb.sql.textual_times import only_within, within

__all__ = ["FilterLike", "condition", "parsed"]

_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
    *("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)
_TIMES = ("DATE", "TIMESTAMP")

_EQUALITY = {"=", "==", "!=", "<>"}

FilterLike: TypeAlias = str | Filter


def parsed(filters: object) -> tuple[Filter, ...]:
    """One filter, several (all must hold) or none: text, parsed, or a narwhals expression.

    Raises:
        StoreError: something else.
        FeatureError: text that cannot be read, or an expression that no filter can say.
    """
    if filters is None:
        return ()
    if isinstance(filters, (list, tuple)):
        return tuple(map(_parsed, filters))
    return (_parsed(filters),)


def _parsed(given: object) -> Filter:
    if isinstance(given, str | Filter) or is_expression(given):
        return filter_of(given)
    raise StoreError(
        "this filter cannot be used here",
        found=type(given).__qualname__,
        allowed='text such as "height > 720", a narwhals expression, or a parsed filter',
        remedy="write the condition as text",
    )


def condition(
    filters: Iterable[Filter],
    columns: Mapping[str, str],
    values: Values,
    *,
    where: str,
    types: Mapping[str, str] | None = None,
    exact: bool = True,
    texts: DistinctTexts | None = None,
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
        texts: the rows that will be asked, where it may pay to decide texts once for all rows.

    Raises:
        StoreError: a filter names a column that is not there, or compares it with a literal of
            another kind.
    """
    given = tuple(filters)
    if (size := sum(one.size for one in given)) > MAX_CONDITIONS:
        raise StoreError(
            f"the filters on {where} are too long",
            found=f"{size} conditions",
            allowed=f"{MAX_CONDITIONS} conditions",
            remedy="write them shorter, for instance with IN (...)",
        )
    folded = {fold(name): sql for name, sql in columns.items()}
    kinds = {fold(name): kind for name, kind in (types or {}).items()}
    writer = _Writer(folded, kinds, values, where, texts)
    terms = [writer.write(one) for one in given]
    if not terms:
        return "TRUE"
    return f"coalesce({' AND '.join(terms)}, FALSE)" if exact else " AND ".join(terms)


class _Writer:
    def __init__(
        self,
        columns: Mapping[str, str],
        types: Mapping[str, str],
        values: Values,
        where: str,
        texts: DistinctTexts | None,
    ) -> None:
        self._columns = columns
        self._types = types
        self._values = values
        self._where = where
        self._texts = texts

    def write(self, node: Filter, *, negated: bool = False) -> str:
        """A condition; with ``negated``, one whose opposite is wanted: NULL is not false then."""
        match node:
            case Compare(column, op, value):
                sql = f"{self._column(column)} {op} {self._bind_in_order(column, op, value)}"
            case In(column, items, is_not):
                bound = ", ".join(self._bind(column, item) for item in items)
                sql = f"{self._column(column)} {_not(is_not)}IN ({bound})"
            case IsNull(column, is_not):
                sql = f"{self._column(column)} IS {_not(is_not)}NULL"
            case Like():
                sql = self._like(node)
            case Between(column, low, high, is_not):
                ends = (self._bind_in_order(column, "<", end) for end in (low, high))
                span = " AND ".join(ends)
                sql = f"{self._column(column)} {_not(is_not)}BETWEEN {span}"
            case And(parts):
                sql = " AND ".join(self.write(part, negated=negated) for part in parts)
            case Or(parts):
                sql = " OR ".join(self.write(part, negated=negated) for part in parts)
            case Not(part):
                sql = f"NOT {self.write(part, negated=True)}"
            case Within(column):
                write = within if negated else partial(only_within, texts=self._texts)
                sql = write(node, self._text(column), self._values)
        return f"({sql})"

    def _like(self, node: Like) -> str:
        word = "ILIKE" if node.any_case else "LIKE"
        bound = self._bind(node.column, node.pattern, like=True)
        sql = f"{self._column(node.column)} {_not(node.negated)}{word} {bound}"
        return sql if node.escape is None else f"{sql} ESCAPE {literal(node.escape)}"

    def _bind_in_order(self, column: str | Member, op: str, value: Any) -> str:
        """A value to be compared: with an enumeration by its order, and not as text."""
        bound, kind = self._bind(column, value), self._kind(column)
        is_order = kind.startswith("ENUM") and op not in _EQUALITY
        return f"TRY_CAST({bound} AS {kind})" if is_order else bound

    def _bind(self, column: str | Member, value: Any, *, like: bool = False) -> str:
        kind = self._kind(column)
        # What DuckDB would refuse too, but only when the frame is collected.
        is_text = kind in ("", "VARCHAR") or kind.startswith("ENUM")
        if not _compares(kind, value) or (like and not is_text):
            raise StoreError(
                f"a filter on {self._where} compares {column_text(column)!r} with a value of"
                " another kind",
                found=f"{value!r}, while the column is {kind}",
                remedy="write numbers, true and false bare, text in single quotes, and times as"
                " DATE '…' or TIMESTAMP '…'",
            )
        return self._values.bind(value)

    def _text(self, column: str) -> str:
        """A column as text; of a number, its digits."""
        is_text = self._types.get(fold(column), "") in ("", "VARCHAR")
        return self._column(column) if is_text else f"CAST({self._column(column)} AS VARCHAR)"

    def _column(self, column: str | Member) -> str:
        name = root(column)
        try:
            sql = self._columns[fold(name)]
        except KeyError:
            raise StoreError(
                f"a filter names a column that {self._where} does not have",
                found=name,
                allowed=sorted(self._columns),
                remedy="correct the filter, or store the column with the samples",
            ) from None
        if isinstance(column, Member):
            self._kind(column)
            sql += "".join(f".{quote(member)}" for member in column.path[1:])
        return sql

    def _kind(self, column: str | Member) -> str:
        """The DuckDB type of a column or member; empty if it is not known."""
        kind = self._types.get(fold(root(column)), "")
        if isinstance(column, str) or not kind:
            return kind
        for at, member in enumerate(column.path[1:], start=1):
            members = _members(kind)
            if fold(member) not in members:
                # Said of the column by the name that it has here.
                raise StoreError(
                    f"a filter on {self._where} names a member that the column does not have",
                    found=f"{member!r} of {'.'.join(column.path[:at])}, which is {kind}",
                    allowed=sorted(members) or "members of struct columns",
                    remedy="correct the filter, or store the member with the samples",
                )
            kind = members[fold(member)]
        return kind


def _members(kind: str) -> dict[str, str]:
    """The members of a struct type, folded, with their types; none of any other type."""
    if not kind.startswith("STRUCT") or kind.endswith("]"):
        return {}
    children = duckdb.sqltype(kind).children
    return {fold(name): str(child) for name, child in children}


def _compares(kind: str, value: object) -> bool:
    """Whether a column of this type can be compared with a literal."""
    if kind.endswith("]"):
        return isinstance(value, str)
    if kind.startswith(_NUMBERS):
        if isinstance(value, str):
            return _is_number(value)
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "VARCHAR" or kind.startswith("ENUM"):
        return isinstance(value, str)
    if kind.startswith(_TIMES):
        return isinstance(value, str | date)
    # Partition keys are text whatever the column is.
    return kind != "BOOLEAN" or isinstance(value, bool | int | str)


def _is_number(text: str) -> bool:
    """Partition keys are text even where the column that holds them is not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _not(negated: bool) -> str:  # noqa: FBT001 - a flag of the parsed node
    return "NOT " if negated else ""
