"""A column, and what it holds in the samples of a run."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import dagster as dg

from metaxy_dagster.constants import KEY_PARTITION_BY
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import And, Compare, Filter, In, IsNull, Or
from metaxy_dagster.features.spans import Span, Spans, TextFormat, Within
from metaxy_dagster.late import narwhals as nw
from metaxy_dagster.runtime.partitions.wall_clock import Moments

__all__ = ["Choice", "TimeKeys", "Value", "undecided_error"]

Value: TypeAlias = str | int | float | bool

_SHOWN = 3
_SHAPES = {"Y": "[0-9]{4}", "G": "[0-9]{4}", "j": "[0-9]{3}", "u": "[1-7]", "w": "[0-6]", "%": "%"}
_SHAPES |= dict.fromkeys("mdHIMSyWUV", "[0-9]{2}")


@dataclass(frozen=True)
class TimeKeys:
    """Partitions that are windows of time.

    Attributes:
        moments: the windows.
        definition: whose they are.
        also: other definitions whose keys the column may hold, such as those of upstream assets.
    """

    moments: Moments
    definition: dg.TimeWindowPartitionsDefinition
    also: tuple[dg.TimeWindowPartitionsDefinition, ...] = ()

    @classmethod
    def of(
        cls,
        keys: Sequence[str],
        definition: dg.TimeWindowPartitionsDefinition,
        also: Sequence[dg.TimeWindowPartitionsDefinition] = (),
    ) -> TimeKeys:
        """The windows of some partitions."""
        return cls(Moments.of(keys, definition), definition, tuple(also))

    @cached_property
    def dates(self) -> Spans:
        """For columns of dates."""
        return self.moments.dates(self.definition.fmt)

    def within(self, column: str, keys: Sequence[str]) -> Within:
        """The condition on a column of text."""
        # What is written alike is read as the keys of the own definition.
        by_text: dict[tuple[str, str], dg.TimeWindowPartitionsDefinition] = {}
        for one in (self.definition, *self.also):
            by_text.setdefault((one.fmt, one.timezone), one)
        formats = [self.moments.as_text(one) for one in by_text.values() if is_readable(one)]
        own = is_readable(self.definition)
        return Within(
            column,
            tuple(formats),
            self.dates,
            self.moments.clock,
            Spans(self.moments.spans),
            () if own else tuple(keys),
            () if own else (shape(self.definition.fmt),),
        )


@dataclass(frozen=True)
class Choice:
    """A column and what it holds in the samples of a run.

    Attributes:
        column: the column.
        values: what it may hold; for a Dagster partition, the partition keys; none for nothing.
        times: the same as windows of time, where that is what the partitions are.
        is_partition: whether they are partition keys.

    Example:
        >>> str(Choice("country", ("de", "fr")).filter("VARCHAR"))
        "country IN ('de', 'fr')"
    """

    column: str
    values: tuple[Value, ...]
    times: TimeKeys | None = None
    is_partition: bool = False

    def covers(self, other: Choice) -> bool:
        """Whether all that another choice takes is among what this one takes."""
        if self.times is None or other.times is None:
            return self.times is other.times and set(other.values) <= set(self.values)
        spans = self.times.moments.spans
        return all(
            any(start <= first and last <= end for start, end in spans)
            for first, last in other.times.moments.spans
        )

    def reaches_beyond(self, others: Sequence[Choice]) -> bool:
        """Whether some of its partitions have nothing in common with those of other choices."""
        times, values = self.times, {value for one in others for value in one.values}
        if times is None:
            return not set(self.values) <= values
        spans = [span for o in others if o.times is not None for span in o.times.moments.spans]
        windows = (Moments.of([str(key)], times.definition).spans for key in self.values)
        return any(
            not any(start < end_of and start_of < end for start_of, end_of in spans)
            for window in windows
            for start, end in window
        )

    def filter(self, kind: str) -> Filter:
        """The choice as a store's filter.

        Args:
            kind: the column's type, as the store names it.

        Raises:
            RunError: no value of that type can be told to be a partition's.
        """
        if not self.values:
            return And((IsNull(self.column), IsNull(self.column, negated=True)))
        if self.times is None:
            as_text = not self.is_partition or kind in ("", "VARCHAR")
            return In(self.column, self.values) if as_text else self._named
        if kind.startswith("TIMESTAMP") and "TIME ZONE" in kind:
            return self._compared(self.times.moments.spans, self.times.moments.zone)
        if kind.startswith(("DATE", "TIMESTAMP")):
            return self._compared(self._calendar(kind).certain)
        return self._within

    def undecided(self, kind: str) -> Filter | None:
        """Which values cannot be told to be within or outside; ``None`` if all can.

        Args:
            kind: as for :meth:`filter`.
        """
        if self.times is None and self.is_partition and kind.startswith("TIMESTAMP"):
            return IsNull(self.column, negated=True)
        if self.times is None or "TIME ZONE" in kind:
            return None
        if kind.startswith(("DATE", "TIMESTAMP")):
            unsure = self._calendar(kind).unsure
            return self._compared(unsure) if unsure else None
        return replace(self._within, undecided=True)

    def unreadable(self, kind: str) -> Filter | None:
        """Which values can be told to be of no partition at all; ``None`` if that depends on which.

        Args:
            kind: as for :meth:`filter`.
        """
        found, nothing = self.undecided(kind), Spans()
        if not isinstance(found, Within):
            return None
        spans = (found.dates, found.clock, found.moments, *(one.spans for one in found.formats))
        if any(one.unsure for one in spans):
            return None
        formats = tuple(replace(one, spans=nothing) for one in found.formats)
        return replace(
            found, formats=formats, dates=nothing, clock=nothing, moments=nothing, keys=()
        )

    def expression(self, name: str, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> nw.Expr:
        """The choice as a narwhals expression over the rows of a frame.

        Args:
            name: the column as the frame has it, maybe in another case.
            frame: the frame; where it holds text, its values are looked at.

        Raises:
            RunError: there are values that cannot be told to be within or outside.
        """
        column, kind = nw.col(name), frame.collect_schema()[name]
        if not self.values:
            return column.is_null() & ~column.is_null()
        if self.times is None:
            return self._of_values(column, name, frame)
        if isinstance(kind, nw.Datetime) and kind.time_zone is not None:
            zone = ZoneInfo(kind.time_zone)
            moments = self.times.moments.spans
            return _between(column, [(_zoned(a, zone), _zoned(b, zone)) for a, b in moments])
        if kind in (nw.Date, nw.Datetime):
            spans = self.times.dates if kind == nw.Date else self.times.moments.clock
            if spans.unsure:
                self._require_none(_between(column, _bare(spans.unsure, kind)), name, frame)
            return _between(column, _bare(spans.certain, kind))
        return self._of_texts(column, name, frame)

    @cached_property
    def _within(self) -> Within:
        if self.times is None:
            return self._named
        return self.times.within(self.column, [str(key) for key in self.values])

    @property
    def _named(self) -> Within:
        """Values that are written like one of the keys, in a column that holds no text."""
        keys = [str(value) for value in self.values]
        # Keys are often padded: 07 is 7.
        keys += [str(int(key)) for key in keys if key.isascii() and key.isdigit()]
        nothing = Spans()
        named = tuple(dict.fromkeys(keys))
        return Within(self.column, (), nothing, nothing, nothing, named, ("(?s).*",))

    def _calendar(self, kind: str) -> Spans:
        if self.times is None:
            return Spans()
        return self.times.dates if kind.startswith("DATE") else self.times.moments.clock

    def _compared(self, spans: Sequence[Span], zone: ZoneInfo | None = None) -> Filter:
        parts = [
            And(
                (
                    Compare(self.column, ">=", _text(start, zone)),
                    Compare(self.column, "<", _text(end, zone)),
                )
            )
            for start, end in spans
        ]
        if not parts:
            return And((IsNull(self.column), IsNull(self.column, negated=True)))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _of_values(
        self, column: nw.Expr, name: str, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]
    ) -> nw.Expr:
        kind = frame.collect_schema()[name]
        if kind == nw.String or not all(isinstance(value, str) for value in self.values):
            return column.is_in(list(self.values))
        if not self.is_partition:
            return column.cast(nw.String).is_in(list(self.values))
        if kind == nw.Datetime:
            self._require_none(~column.is_null(), name, frame)
        return self._of_texts(column, name, frame)

    def _of_texts(
        self, column: nw.Expr, name: str, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]
    ) -> nw.Expr:
        # Each text is read once, however often it occurs.
        distinct = frame.lazy().select(column).unique().collect()
        known = [value for value in distinct[name].to_list() if value is not None]
        decided = {value: self._within.decide(_written(value)) for value in known}
        unsure = [value for value, within in decided.items() if within is None]
        if unsure:
            raise undecided_error(self, unsure)
        chosen = [value for value, within in decided.items() if within]
        return column.is_in(chosen) if chosen else column.is_null() & ~column.is_null()

    def _require_none(
        self, unsure: nw.Expr, name: str, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]
    ) -> None:
        found = frame.lazy().filter(unsure).select(name).head(_SHOWN).collect()
        if len(found):
            raise undecided_error(self, found[name].to_list())


def undecided_error(choice: Choice, values: Sequence[object], rows: int | None = None) -> RunError:
    """What to say where values of a column cannot be told to belong to partitions.

    Args:
        choice: the column and the partitions.
        values: some of the values.
        rows: in how many samples, if that is known.
    """
    times = choice.times
    allowed = "text, numbers or dates that are written like the keys"
    if times is not None:
        allowed = (
            f"text as {times.definition.fmt!r} of the partitions' definition says it, or ISO 8601;"
            " dates, if they lie within one partition; times, without an offset as the clock in "
            f"{times.definition.timezone} shows them, if it shows them once"
        )
    keys = ", ".join(map(str, choice.values[:_SHOWN]))
    more = ", …" if len(choice.values) > _SHOWN else ""
    counted = "" if rows is None else f" in {rows} sample{'s' if rows > 1 else ''}"
    shown = ", ".join(repr(each) for each in values[:_SHOWN])
    return RunError(
        f"the column {choice.column!r} holds values that cannot be told to be of a partition",
        found=f"{shown}{counted}, for the partitions {keys}{more}",
        allowed=allowed,
        remedy=f"store such values in {choice.column!r} (with an offset from UTC where the clock "
        f'is not enough), or name another column in "{KEY_PARTITION_BY}"',
    )


def _written(value: object) -> str:
    """A value as a database writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_readable(definition: dg.TimeWindowPartitionsDefinition) -> bool:
    """Whether the keys of a definition are read back as what they were made of."""
    return TextFormat(definition.fmt.removesuffix("%z"), Spans()).is_readable


def shape(fmt: str) -> str:
    """A regular expression of what keys of a format look like."""
    parts = re.split(r"%(.)", fmt)
    texts = [
        re.escape(part) if i % 2 == 0 else _SHAPES.get(part, ".+?") for i, part in enumerate(parts)
    ]
    return "".join(texts)


def _between(column: nw.Expr, bounds: Sequence[tuple[Any, Any]]) -> nw.Expr:
    parts = [(column >= start) & (column < end) for start, end in bounds]
    return reduce(or_, parts) if parts else column.is_null() & ~column.is_null()


def _bare(spans: Sequence[Span], kind: Any) -> list[tuple[Any, Any]]:
    """Spans as values of a column of dates, or of times without a zone."""
    if kind == nw.Date:
        return [(start.date(), end.date()) for start, end in spans]
    return list(spans)


def _zoned(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC).astimezone(zone)


def _text(moment: dt.datetime, zone: ZoneInfo | None) -> str:
    """A moment as text that compares with the column; without a zone, as the clock shows it.

    A plain date, where that says all, compares with columns of dates too.
    """
    if zone is not None:
        return _zoned(moment, zone).isoformat()
    return moment.date().isoformat() if moment.time() == dt.time() else moment.isoformat(sep=" ")
