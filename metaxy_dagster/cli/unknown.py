"""What is said of names on the command line that the repository does not have."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from metaxy_dagster.errors import ConfigError

__all__ = ["unknown_names"]


def unknown_names(what: str, unknown: Sequence[str], known: Collection[str]) -> ConfigError:
    """The error to raise, with the name that was meant.

    Args:
        what: ``"feature"`` or ``"asset"``.
        unknown: the names that there are not; at least one.
        known: those that there are.

    Example:
        >>> print(unknown_names("asset", ["vidoes"], ["videos"]))
        the repository has no such asset
          found: vidoes
          allowed: videos
          to fix: name 'videos'
    """
    near = difflib.get_close_matches(unknown[0], known, n=1)
    return ConfigError(
        f"the repository has no such {what}",
        found=", ".join(unknown),
        allowed=", ".join(sorted(known)) or f"no {what} at all",
        remedy=f"name {near[0]!r}" if near else "correct the name",
    )
