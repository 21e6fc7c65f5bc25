"""Rows of text as columns that stand under each other."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

__all__ = ["aligned"]


def aligned(cells: Sequence[Sequence[str]], *, right: Container[int] = ()) -> Iterator[str]:
    """One line per row, without spaces at its end.

    Args:
        cells: N rows of as many texts each.
        right: the columns, counted from 0, whose texts end at the same place.

    Example:
        >>> list(aligned([("a", "rows", "of"), ("bcd", "12", "x")], right=[1]))
        ['a    rows  of', 'bcd    12  x']
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            text.rjust(width) if place in right else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()
