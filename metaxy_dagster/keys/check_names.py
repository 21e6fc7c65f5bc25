"""The names of the asset checks of features."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from metaxy_dagster.constants import CHECKS_ALL, CHECKS_NONE
from metaxy_dagster.errors import DefinitionsError

__all__ = ["CHECK_NAMES", "CheckName", "check_names"]

#: What can be checked.
CheckName: TypeAlias = Literal["pending", "orphaned", "failed", "schema", "unique_ids"]
CHECK_NAMES: Final[tuple[CheckName, ...]] = get_args(CheckName)


def check_names(names: object) -> tuple[CheckName, ...]:
    """The named checks, each once and in their fixed order.

    Args:
        names: names of checks; or ``"all"``, or ``"none"``.

    Raises:
        DefinitionsError: there is no check of that name.

    Example:
        >>> check_names(["orphaned", "pending"]), check_names("none")
        (('pending', 'orphaned'), ())
    """
    if isinstance(names, str) and names in (CHECKS_ALL, CHECKS_NONE):
        return CHECK_NAMES if names == CHECKS_ALL else ()
    given = list(names) if isinstance(names, list | tuple | set | frozenset) else [names]
    unknown = [name for name in given if name not in CHECK_NAMES]
    if unknown or not given:
        raise DefinitionsError(
            "no such check of a feature",
            found=", ".join(map(repr, unknown)) or "an empty list",
            allowed=", ".join(CHECK_NAMES),
            remedy=f'name one or more of these in a list, or say "{CHECKS_ALL}" or "{CHECKS_NONE}"',
        )
    return tuple(name for name in CHECK_NAMES if name in given)
