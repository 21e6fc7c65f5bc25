"""The run that calls: known to floors above, which say here how it is found."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["run_id", "tell_run_by"]

_TELL: list[Callable[[], str | None]] = []


def tell_run_by(tell: Callable[[], str | None]) -> None:
    """Say how the id of the run is found that the calling code belongs to; once a process.

    Args:
        tell: gives the id; ``None`` where no run is going on.
    """
    _TELL[:] = [tell]


def run_id() -> str | None:
    """The run that the calling code belongs to; ``None`` where there is none, or nobody knows.

    Example:
        >>> run_id() is None
        True
    """
    return _TELL[0]() if _TELL else None
