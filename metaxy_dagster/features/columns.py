"""Column names: which are allowed, and how a list of them is read."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BeforeValidator

from metaxy_dagster.constants import PREFIX
from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.text import check_name

__all__ = ["Columns", "check_distinct", "columns", "fold", "in_order"]

_CAPITALS = re.compile("[A-Z]+")


def fold(name: str) -> str:
    """What two names of one column have in common: DuckDB ignores the case of A to Z alone.

    Whether a name *is* that of a column is asked with this, everywhere. Whether two names may stand
    beside each other in one feature is asked more strictly (:func:`check_distinct`): people and
    other engines take é and É for one.

    Example:
        >>> fold("Straße_ID"), fold("É") == fold("é")
        ('straße_id', False)
    """
    return name.lower() if name.isascii() else _CAPITALS.sub(lambda one: one[0].lower(), name)


def columns(names: object) -> tuple[str, ...]:
    """Check a list of column names: text, none reserved, no two that a database takes for one.

    Raises:
        FeatureError: with what was found and the remedy.

    Example:
        >>> columns(["video_id", "frame_id"])
        ('video_id', 'frame_id')
    """
    checked = tuple(map(_column, in_order(names, "columns")))
    check_distinct(checked, "columns")
    return checked


Columns = Annotated[tuple[str, ...], BeforeValidator(columns)]


def in_order(items: object, noun: str) -> tuple[object, ...]:
    """Read a list of something. A lone text is refused: it would be taken letter by letter.

    Sets are sorted, since their order differs between processes.

    Raises:
        FeatureError: it is text, a mapping, or not iterable.
    """
    if isinstance(items, set | frozenset):
        return tuple(sorted(items, key=str))
    if isinstance(items, str | bytes | Mapping | type) or not isinstance(items, Iterable):
        raise FeatureError(
            f"not a list of {noun}",
            found=f"{reprlib.repr(items)} of type {type(items).__name__}",
            remedy=f"write [{items!r}]" if isinstance(items, str) else "write it as a list",
        )
    return tuple(items)


def check_distinct(names: Iterable[str], noun: str) -> None:
    """Refuse names that are equal, or equal but for case, whatever the letters.

    Raises:
        FeatureError: naming the first such pair.
    """
    seen: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if folded in seen:
            other = seen[folded]
            raise FeatureError(
                f"two {noun} differ only by case" if other != name else f"two {noun} are the same",
                found=f"{other!r} and {name!r}",
                allowed="names that differ by more than case, which DuckDB ignores",
                remedy="drop or rename one of them",
            )
        seen[folded] = name


def _column(value: object) -> str:
    name = check_name(value, "a column name", "sample_id")
    if name.casefold().startswith(PREFIX):
        raise FeatureError(
            f"a column name begins with {PREFIX!r}",
            found=repr(name),
            allowed=f"{PREFIX}… is kept for the columns that the store adds",
            remedy="rename the column",
        )
    return name
