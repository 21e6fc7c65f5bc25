"""Between which texts all lies that says a time within given spans."""

from __future__ import annotations

import datetime as dt
import re
from typing import TypeAlias

from metaxy_dagster.features.spans import Span, Within

__all__ = ["TextRange", "text_ranges"]

TextRange: TypeAlias = tuple[str, str]

# Of fixed width, and in the order of time.
_ORDERED = re.compile(r"%Y(?:[^%]*%m(?:[^%]*%d)?|[^%]*%j)?")
_ISO = "%Y-%m-%d"
# More than any offset from UTC.
_DAY = dt.timedelta(days=1)
# What is read of a text is a clock, whose years have four digits.
_FIRST, _LAST = dt.datetime.fromisoformat("1000-01-01"), dt.datetime.fromisoformat("9999-01-01")


def text_ranges(node: Within) -> tuple[TextRange, ...] | None:
    """Ranges of text, without their ends, that hold all that is within, beside the keys.

    Much else may be in them too: they are coarse, so that whole blocks of rows can be passed over.

    Args:
        node: the condition.

    Returns:
        In the order of code points, as databases compare text; ``None`` where a format does not
        begin with the year, so that texts are in no order of time.

    Example:
        >>> from metaxy_dagster.features.spans import Spans, TextFormat
        >>> day = Spans(((dt.datetime(2024, 2, 1), dt.datetime(2024, 2, 2)),))
        >>> text_ranges(Within("at", (TextFormat("%Y/%m/%d", day),), day, day, day))
        (('2024-01-31', '2024-02-04'), ('2024/01/31', '2024/02/04'))
        >>> text_ranges(Within("at", (TextFormat("%d.%m.%Y", day),), day, day, day)) is None
        True
    """
    told = [_ORDERED.match(each.fmt) for each in node.formats]
    known = (node.dates, node.clock, node.moments, *(each.spans for each in node.formats))
    spans = [span for one in known for span in one.certain]
    if not spans:
        return ()
    first, last = _reach(spans)
    prefixes = {_ISO, *(match[0] for match in told if match is not None)}
    ranges = ((first.strftime(each), _after(last.strftime(each))) for each in sorted(prefixes))
    return tuple(ranges) if all(told) else None


def _reach(spans: list[Span]) -> Span:
    """From the first start to the last end, and a day more at either."""
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    return max(first, _FIRST + _DAY) - _DAY, min(max(last, _FIRST), _LAST - _DAY) + _DAY


def _after(prefix: str) -> str:
    """The first text that comes after all that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
