"""Which samples of a feature belong to one run of one asset."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import dagster as dg

from metaxy_dagster.features import And, Compare, Filter, In, Or
from metaxy_dagster.features.columns import fold
from metaxy_dagster.late import narwhals as nw

__all__ = ["Choice", "Scope", "Value", "Window", "partition_choices"]

Value: TypeAlias = str | int | float | bool
Window: TypeAlias = tuple[dt.datetime, dt.datetime]

_TEMPORAL = ("DATE", "TIMESTAMP")


@dataclass(frozen=True)
class Choice:
    """A column and what it holds in the samples of a run.

    Attributes:
        column: the column.
        values: what it may hold; for a Dagster partition, the partition keys.
        windows: the same as spans of time, the end not included, for columns of dates or times.

    Example:
        >>> str(Choice("country", ("de", "fr")).filter("VARCHAR"))
        "country IN ('de', 'fr')"
    """

    column: str
    values: tuple[Value, ...]
    windows: tuple[Window, ...] = ()

    def filter(self, kind: str) -> Filter:
        """The choice as a store's filter.

        Args:
            kind: the column's type, as the store names it.
        """
        if not self.windows or not kind.startswith(_TEMPORAL):
            return In(self.column, self.values)
        zoned = "TIME ZONE" in kind
        spans = [
            And(
                (
                    Compare(self.column, ">=", _text(start, zoned=zoned)),
                    Compare(self.column, "<", _text(end, zoned=zoned)),
                )
            )
            for start, end in self.windows
        ]
        return spans[0] if len(spans) == 1 else Or(tuple(spans))

    def expression(self, name: str, schema: Mapping[str, Any]) -> nw.Expr:
        """The choice as a narwhals expression.

        Args:
            name: the column as a frame has it, maybe in another case.
            schema: the frame's columns with their narwhals types.
        """
        column, kind = nw.col(name), schema[name]
        if self.windows and kind.is_temporal():
            convert = _converter(kind)
            return _either(
                (column >= convert(start)) & (column < convert(end)) for start, end in self.windows
            )
        if kind == nw.String or not all(isinstance(value, str) for value in self.values):
            return column.is_in(list(self.values))
        return column.cast(nw.String).is_in(list(self.values))


@dataclass(frozen=True)
class Scope:
    """The samples for which one of several combinations of choices holds.

    Attributes:
        alternatives: any of these must hold, each as a whole; none at all means every sample.

    Example:
        >>> scope = Scope(((Choice("day", ("2024-01-01",)),),))
        >>> [str(one) for one in scope.filters({"day": "VARCHAR"})], bool(Scope())
        (["day IN ('2024-01-01')"], False)
    """

    alternatives: tuple[tuple[Choice, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def __and__(self, other: Scope) -> Scope:
        """Samples that belong to both."""
        if not self or not other:
            return self or other
        return Scope(
            tuple((*mine, *theirs) for mine in self.alternatives for theirs in other.alternatives)
        )

    @classmethod
    def of_values(cls, values: Mapping[str, tuple[Value, ...]]) -> Scope:
        """Samples that hold one of the given values in each of the columns."""
        choices = tuple(Choice(column, allowed) for column, allowed in values.items())
        return cls((choices,)) if choices else cls()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return tuple(dict.fromkeys(one.column for each in self.alternatives for one in each))

    @property
    def constants(self) -> Mapping[str, Value]:
        """Columns that hold the same value in every sample of the run."""
        found: dict[str, set[Value]] = {}
        for each in self.alternatives:
            for one in each:
                found.setdefault(one.column, set()).update(one.values)
        return {column: next(iter(values)) for column, values in found.items() if len(values) == 1}

    def filters(self, kinds: Mapping[str, str]) -> tuple[Filter, ...]:
        """The scope as a store's filters.

        Args:
            kinds: column to type, as the store names it; a column without one is text.
        """
        if not self:
            return ()
        folded = {fold(name): kind for name, kind in kinds.items()}
        parts = [
            [one.filter(folded.get(fold(one.column), "")) for one in each]
            for each in self.alternatives
        ]
        if len(parts) == 1:
            return tuple(parts[0])
        return (Or(tuple(And(tuple(each)) if len(each) > 1 else each[0] for each in parts)),)

    def expression(self, schema: Mapping[str, Any]) -> nw.Expr:
        """The scope as a narwhals expression over a frame with this narwhals schema."""
        names = {fold(name): name for name in schema}
        return _either(
            reduce(and_, [one.expression(names[fold(one.column)], schema) for one in each])
            for each in self.alternatives
        )

    def restrict(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The rows of a frame that belong to the scope; all of them if it lacks the columns."""
        schema = frame.collect_schema()
        present = {fold(name) for name in schema}
        if not self or any(fold(column) not in present for column in self.columns):
            return frame
        return frame.filter(self.expression(schema))


def partition_choices(
    keys: Sequence[str], definition: dg.PartitionsDefinition[Any], columns: Mapping[str, str]
) -> Scope:
    """The samples of some Dagster partitions.

    Args:
        keys: the partition keys.
        definition: the asset's partitions.
        columns: the column of each dimension, by its name; ``""`` for an asset of one dimension.

    Returns:
        One combination of choices where the keys are a full product of their dimensions.
    """
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return Scope(((_choice(columns[""], keys, definition),),))
    inner = {each.name: each.partitions_def for each in definition.partitions_defs}
    chosen = {
        tuple(
            definition.get_partition_key_from_str(key).keys_by_dimension[name] for name in columns
        )
        for key in keys
    }
    distinct = [tuple(dict.fromkeys(key[i] for key in sorted(chosen))) for i in range(len(columns))]
    full = len(chosen) == math.prod(len(values) for values in distinct)
    combinations = [distinct] if full else [[(part,) for part in key] for key in sorted(chosen)]
    return Scope(
        tuple(
            tuple(
                _choice(columns[name], values, inner[name])
                for name, values in zip(columns, each, strict=True)
            )
            for each in combinations
        )
    )


def _choice(column: str, keys: Sequence[str], definition: dg.PartitionsDefinition[Any]) -> Choice:
    windows: tuple[Window, ...] = ()
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        found = (definition.time_window_for_partition_key(key) for key in keys)
        windows = _merged((window.start, window.end) for window in found)
    return Choice(column, tuple(keys), windows)


def _either(terms: Iterable[nw.Expr]) -> nw.Expr:
    return reduce(or_, terms)


def _merged(windows: Iterable[Window]) -> tuple[Window, ...]:
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _text(moment: dt.datetime, *, zoned: bool) -> str:
    """A moment as text that compares with the column; without a zone, as the clock shows it.

    A plain date, where that says all, compares with text columns too.
    """
    if zoned:
        return moment.isoformat()
    wall = moment.replace(tzinfo=None)
    return wall.date().isoformat() if wall.time() == dt.time() else wall.isoformat(sep=" ")


def _converter(kind: Any) -> Any:
    if kind == nw.Date:
        return lambda moment: moment.date()
    zone = getattr(kind, "time_zone", None)
    if zone is not None:
        return lambda moment: moment.astimezone(ZoneInfo(zone))
    return lambda moment: moment.replace(tzinfo=None)
