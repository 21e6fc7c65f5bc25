"""Shares of something: numbers between 0 and 1, both included."""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["SHARE_RULE", "is_share"]

SHARE_RULE = "a number between 0 and 1, such as 0.5 for one half"


def is_share(value: object) -> TypeGuard[float]:
    """Whether a value is a number between 0 and 1; no truth value and no text is one.

    Example:
        >>> [is_share(value) for value in (0, 0.5, 1.0, 5, -1, float("nan"), True, "half")]
        [True, True, True, False, False, False, False, False]
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
