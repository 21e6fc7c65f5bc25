"""Spans of moments as clocks, calendars and texts show them."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import dagster as dg

from metaxy_dagster.features.spans import Span, Spans, TextFormat

__all__ = ["Moments"]

_DAY = dt.timedelta(days=1)
_HOUR = dt.timedelta(hours=1)
# No clock is put back or forward by more.
_REACH = 26 * _HOUR
_MICROSECOND = dt.timedelta(microseconds=1)
_PRECISE = ("%H", "%I", "%M", "%S", "%f")


@dataclass(frozen=True)
class Moments:
    """Spans of moments, in UTC and in order, and the zone in which they are meant.

    Attributes:
        spans: their ends are not included.
        zone: whose clock shows them.

    Example:
        >>> day = dg.DailyPartitionsDefinition("2024-02-01")
        >>> [str(end) for _, end in Moments.of(["2024-02-02", "2024-02-01"], day).clock.certain]
        ['2024-02-03 00:00:00']
    """

    spans: tuple[Span, ...]
    zone: ZoneInfo

    @classmethod
    def of(cls, keys: Sequence[str], definition: dg.TimeWindowPartitionsDefinition) -> Moments:
        """The time windows of some partitions."""
        windows = (definition.time_window_for_partition_key(key) for key in keys)
        spans = _merged((_utc(each.start), _utc(each.end)) for each in windows)
        return cls(spans, ZoneInfo(definition.timezone))

    @cached_property
    def clock(self) -> Spans:
        """What a clock shows meanwhile; unsure is what it shows twice, or never."""
        return self._clock(twice_is_first=False)

    def as_text(self, definition: dg.TimeWindowPartitionsDefinition) -> TextFormat:
        """How the keys of a definition say what is within.

        Args:
            definition: the one whose windows these are, or a finer or coarser one.
        """
        fmt = definition.fmt
        bare = fmt.removesuffix("%z")
        return TextFormat(bare, self._labels(definition, bare), True if bare != fmt else None)

    def dates(self, fmt: str) -> Spans:
        """Dates that are within: by their name where keys name days, else as whole days."""
        if not any(one in fmt for one in _PRECISE):
            named = [(_midnight(a), _midnight(b)) for a, b in self._walls()]
            if all(start < end for start, end in named):
                return Spans(_merged(named))
        known = self.clock
        possible = _merged((*known.certain, *known.unsure))
        inner = _merged(_days(possible))
        outer = _merged(
            (_midnight(start), _midnight(end - _MICROSECOND) + _DAY) for start, end in possible
        )
        return Spans(inner, tuple(_without(outer, inner)))

    def _labels(self, definition: dg.TimeWindowPartitionsDefinition, fmt: str) -> Spans:
        """The times that the keys of a definition name, of windows that are within."""
        zone, definition = ZoneInfo(definition.timezone), _without_exclusions(definition)
        named, unsure = list[Span](), list[Span]()
        for start, end in self.spans:
            first, before = _edge(start, definition)
            last, after = _edge(end, definition)
            # Windows that stick out, at either end.
            for window in (before, after):
                if window is not None:
                    unsure.append((_label(window[0], zone, fmt), _label(window[1], zone, fmt)))
            until = last if after is None else after[0]
            named.append((_label(first, zone, fmt), _label(until, zone, fmt)))
        moments = Moments(self.spans, zone)
        if not unsure and named == moments._walls():
            return moments._clock(twice_is_first=True)
        return Spans(_merged([one for one in named if one[0] < one[1]]), _merged(unsure))

    def _walls(self) -> list[Span]:
        return [(self._wall(start), self._wall(end)) for start, end in self.spans]

    def _wall(self, moment: dt.datetime) -> dt.datetime:
        return moment.replace(tzinfo=dt.UTC).astimezone(self.zone).replace(tzinfo=None, fold=0)

    def _clock(self, *, twice_is_first: bool) -> Spans:
        """The spans by what the clock shows.

        Args:
            twice_is_first: what it shows twice is the first of them, as in keys of Dagster.
        """
        changes = [c for span in self.spans for edge in span for c in _changes(edge, self.zone)]
        if not changes:
            return Spans(_merged(self._walls()))
        edges = {
            moment + offset
            for moment in (*(edge for span in self.spans for edge in span), *changes)
            for offset in _offsets(moment, self.zone)
        }
        certain, unsure, points = list[Span](), list[Span](), sorted(edges)
        for start, end in pairwise(points):
            first, second = (self._moment(start, fold) for fold in (0, 1))
            is_in, also = self._has(first), self._has(second)
            if is_in != also and not (twice_is_first and first < second):
                unsure.append((start, end))
            elif is_in:
                certain.append((start, end))
        return Spans(_merged(certain), _merged(unsure))

    def _moment(self, wall: dt.datetime, fold: int) -> dt.datetime:
        return _utc(wall.replace(tzinfo=self.zone, fold=fold))

    def _has(self, moment: dt.datetime) -> bool:
        index = bisect_right(self.spans, moment, key=lambda span: span[0]) - 1
        return index >= 0 and moment < self.spans[index][1]


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def _midnight(moment: dt.datetime) -> dt.datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _days(spans: Sequence[Span]) -> Iterator[Span]:
    """The whole days in spans."""
    for start, end in spans:
        first, last = _midnight(start + _DAY - _MICROSECOND), _midnight(end)
        if first < last:
            yield first, last


def _label(moment: dt.datetime, zone: ZoneInfo, fmt: str) -> dt.datetime:
    """A moment as precise as text of a format says it."""
    wall = moment.replace(tzinfo=dt.UTC).astimezone(zone)
    return dt.datetime.strptime(wall.strftime(fmt), fmt)  # noqa: DTZ007 - a clock, no moment


def _edge(
    moment: dt.datetime, definition: dg.TimeWindowPartitionsDefinition
) -> tuple[dt.datetime, Span | None]:
    """The next start of a window, and the window that a moment is inside of."""
    aware = moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(definition.timezone))
    after = definition.get_next_partition_window(aware, respect_bounds=False)
    if after is None or _utc(after.start) == moment:
        return moment, None
    before = definition.get_prev_partition_window(aware, respect_bounds=False)
    if before is None:
        return moment, None
    start, end = _utc(before.end), _utc(after.start)
    return end, (start, end)


def _without_exclusions(
    definition: dg.TimeWindowPartitionsDefinition,
) -> dg.TimeWindowPartitionsDefinition:
    """The same windows, and those that are left out: text of these is of no partition."""
    if not getattr(definition, "exclusions", None):
        return definition
    return dg.TimeWindowPartitionsDefinition(
        start=definition.start,
        fmt=definition.fmt,
        timezone=definition.timezone,
        cron_schedule=definition.cron_schedule,
    )


def _changes(moment: dt.datetime, zone: ZoneInfo) -> Iterator[dt.datetime]:
    """When the clock is changed near a moment."""
    at = moment - _REACH
    while at < moment + _REACH:
        later = at + _HOUR
        if _offset(at, zone) != _offset(later, zone):
            yield _change(at, later, zone)
        at = later


def _change(low: dt.datetime, high: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The first second of another offset than at ``low``."""
    before = _offset(low, zone)
    while high - low > dt.timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(moment: dt.datetime, zone: ZoneInfo) -> dt.timedelta | None:
    return moment.replace(tzinfo=dt.UTC).astimezone(zone).utcoffset()


def _offsets(moment: dt.datetime, zone: ZoneInfo) -> set[dt.timedelta]:
    near = (moment - _REACH, moment - _MICROSECOND, moment, moment + _REACH)
    found = (_offset(at, zone) for at in near)
    return {offset for offset in found if offset is not None}


def _without(spans: Sequence[Span], less: Sequence[Span]) -> Iterator[Span]:
    """Spans without the parts that are in others."""
    for start, end in spans:
        at = start
        for first, last in less:
            if first >= end or last <= at:
                continue
            if first > at:
                yield at, first
            at = max(at, last)
        if at < end:
            yield at, end


def _merged(spans: Iterator[Span] | Sequence[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
