"""Text that says a time: how it is read, and whether that time is within given spans."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from metaxy_dagster.features.filters import Filter

__all__ = ["Span", "Spans", "TextFormat", "Within"]

Span: TypeAlias = tuple[dt.datetime, dt.datetime]

# What strptime reads and strftime writes alike in Python and in databases.
_DIRECTIVES = re.compile(r"(?:[^%]|%[YmdHMSfyjbBIp%])*")
_OFFSET = re.compile(r"(.*)([+-])([01]\d|2[0-3])([0-5]\d)", re.DOTALL | re.ASCII)
_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
_ZONE = r" ?(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_SPACED = re.compile(r" (?=[Z+-])")
# Before and after, years are not written alike, or have no time in UTC.
_YEARS = range(1000, 9999)


@dataclass(frozen=True)
class Spans:
    """Spans of time, without their ends, as a clock shows it that is not said.

    Attributes:
        certain: what is within.
        unsure: where the clock does not tell, such as the hour that it shows twice.

    Example:
        >>> noon = dt.datetime(2024, 2, 1, 12)
        >>> Spans(((noon, noon.replace(hour=13)),)).holds(noon.replace(minute=59))
        True
    """

    certain: tuple[Span, ...] = ()
    unsure: tuple[Span, ...] = ()

    def holds(self, moment: dt.datetime | None) -> bool | None:
        """Whether a moment is within; ``None`` if that cannot be told."""
        if moment is None or moment.year not in _YEARS:
            return None
        if any(start <= moment < end for start, end in self.unsure):
            return None
        return any(start <= moment < end for start, end in self.certain)


@dataclass(frozen=True)
class TextFormat:
    """A way to write times as text.

    Attributes:
        fmt: as of ``strftime``, without an offset from UTC.
        spans: of the times that are written so.
        offset: whether an offset from UTC stands behind: ``False`` for never, ``None`` for
            sometimes, as Dagster does where a clock shows an hour twice.
    """

    fmt: str
    spans: Spans
    offset: bool | None = None

    @property
    def is_readable(self) -> bool:
        """Whether texts of the format can be read back everywhere."""
        return _DIRECTIVES.fullmatch(self.fmt) is not None

    def read(self, text: str) -> dt.datetime | None:
        """The time, if the text is written so and without an offset."""
        try:
            found = dt.datetime.strptime(text, self.fmt)  # noqa: DTZ007 - a clock, no moment
        except ValueError:
            return None
        return found if found.strftime(self.fmt) == text else None


# Compared by all that it says: two of them may read alike.
@dataclass(frozen=True, slots=True)
class Within(Filter):
    """``column`` says, as text, a time within given spans.

    Text is read by the first of the formats that it is written in, else as ISO 8601. What cannot
    be read is neither within nor outside; with ``undecided``, the condition holds for that alone.

    Attributes:
        column: the column; numbers are read by their digits.
        formats: ways to write times.
        dates: the spans for dates.
        clock: for dates with a time of day.
        moments: for those with an offset from UTC, in UTC.
        keys: text that is within, however it may be read.
        shapes: regular expressions of text that is outside where it is none of the keys.
        undecided: hold for what cannot be decided.

    Example:
        >>> day = Spans(((dt.datetime(2024, 2, 1), dt.datetime(2024, 2, 2)),))
        >>> condition = Within("at", (TextFormat("%d/%m/%Y", day),), day, day, day)
        >>> [condition.decide(text) for text in ("01/02/2024", "2024-02-02T13:00Z", "soon")]
        [True, False, None]
    """

    column: str
    formats: tuple[TextFormat, ...]
    dates: Spans
    clock: Spans
    moments: Spans
    keys: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    undecided: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """The column."""
        return frozenset((self.column,))

    def renamed(self, name: Callable[[str], str]) -> Within:
        """The same condition on a column of another name."""
        return replace(self, column=name(self.column))

    def __str__(self) -> str:
        said = ", ".join(f"{start} to {end}" for start, end in self.clock.certain)
        if self.undecided:
            return f"{self.column} is no time that can be read"
        return f"{self.column} within {said or 'no time'}"

    def decide(self, text: str) -> bool | None:
        """Whether the time that a text says is within; ``None`` if that cannot be told."""
        if text in self.keys:
            return True
        for each in self.formats:
            if each.offset is not True and (found := each.read(text)) is not None:
                return each.spans.holds(found)
        for each in self.formats:
            parts = _OFFSET.fullmatch(text)
            if each.offset is not False and parts and (found := each.read(parts[1])) is not None:
                return self._decide_moment(found, _offset(parts[2], parts[3], parts[4]))
        if any(re.fullmatch(shape, text) for shape in self.shapes):
            return False
        return self._decide_iso(text)

    def _decide_iso(self, text: str) -> bool | None:
        for pattern, spans in zip(
            iso_patterns(), (self.dates, self.clock, self.moments), strict=True
        ):
            if re.fullmatch(pattern, text, re.ASCII) is None:
                continue
            try:
                found = dt.datetime.fromisoformat(_SPACED.sub("", text))
            except ValueError:
                return None
            offset = found.utcoffset()
            if offset is None:
                return spans.holds(found)
            return self._decide_moment(found.replace(tzinfo=None), offset)
        return None

    def _decide_moment(self, clock: dt.datetime, offset: dt.timedelta) -> bool | None:
        # Checked before, too: what is shifted may lie beyond all years.
        return self.moments.holds(clock - offset) if clock.year in _YEARS else None


def iso_patterns() -> tuple[str, str, str]:
    """Regular expressions of ISO 8601: a date, one with a time of day, one with an offset too."""
    return _DAY, _DAY + _CLOCK, _DAY + _CLOCK + _ZONE


def _offset(sign: str, hours: str, minutes: str) -> dt.timedelta:
    found = dt.timedelta(hours=int(hours), minutes=int(minutes))
    return found if sign == "+" else -found
