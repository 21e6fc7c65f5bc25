"""Names of resources that tell, where Definitions are merged, that two stores are not one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import dagster as dg

from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.io.wrapped import WrappedDefinition

__all__ = ["with_told_conflicts"]


class _Name(str):
    """A name like any other, but for ``Definitions.merge``.

    Merging compares resources of one name by identity, and its error knows neither of stores nor
    of what to do. All that it does before is to ask whether the name is there already.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        same = str.__eq__(self, other)
        caller = sys._getframe(1)
        if same is True and caller.f_code is dg.Definitions.merge.__code__:
            _refuse_two(str(self), caller.f_locals)
        return same

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[object, ...]:
        return (str, (str(self),))


def with_told_conflicts(resources: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The same resources; merging them with others of the same names is refused in our words.

    Args:
        resources: all of a Definitions.
        ours: those of which other passes have their own.
    """
    return {_Name(name) if name in ours else name: value for name, value in resources.items()}


def _refuse_two(name: str, merging: Mapping[str, Any]) -> None:
    """Raise the error for a name under which there is another resource already."""
    known = {str(key): value for key, value in merging.get("resources", {}).items()}.get(name)
    given = merging.get("resource_value", known)
    if given is known:
        return
    if isinstance(known, WrappedDefinition) or isinstance(given, WrappedDefinition):
        raise DefinitionsError(
            "definitions are merged with others whose IO manager of the same name is not the one "
            "that the pass stands around",
            found=f"two resources {name!r}: {_shown(known)} and {_shown(given)}",
            allowed="the same IO manager object in all parts, each of which the pass went over",
            remedy="merge first and run one pass over the whole",
        )
    raise DefinitionsError(
        "the results of two passes are merged that store features in different places",
        found=f"two resources {name!r}: {_shown(known)} and {_shown(given)}",
        allowed="one store, which passes with equal settings share",
        remedy="give both passes the same store= and the same settings, or merge first and run one "
        "pass over the whole",
    )


def _shown(resource: object) -> str:
    if isinstance(resource, WrappedDefinition):
        return f"{type(resource.inner).__name__}, wrapped"
    path = getattr(resource, "path", None)
    kind = type(resource).__name__
    return f"{kind} at {str(path)!r}" if path else kind
