"""The IO managers that a repository has of its own, and whether they can be wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from metaxy_dagster.definitions import _compat
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.io.wrapped import WrappedDefinition

__all__ = ["OwnManager", "OwnManagers"]

_Resources: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class OwnManager:
    """An IO manager of the repository's own.

    Args:
        key: the resource that it is.
        value: the resource, as the user gave it.
        obstacle: why nothing can stand around it; None if something can.
    """

    key: str
    value: Any
    obstacle: str | None = None

    @property
    def is_wrapped(self) -> bool:
        """Whether an earlier pass stands around it already."""
        return isinstance(self.value, WrappedDefinition)

    @property
    def name(self) -> str:
        """Its key, and what it is."""
        return f"{self.key!r} ({_compat.manager_name(self.value)})"

    @cached_property
    def is_in_memory(self) -> bool:
        """Whether it holds nothing beyond a run."""
        return _compat.is_in_memory(self.value)

    @cached_property
    def no_increments(self) -> str | None:
        """Why what it holds cannot be merged with an increment; None if it can, as far as seen."""
        if self.is_in_memory:
            return "it holds nothing beyond the run that wrote it"
        return "it cannot load what it wrote" if _compat.never_loads(self.value) else None


class OwnManagers:
    """All of a repository, by the key that an output or an input names.

    Args:
        resources: those of the Definitions.
        bound: those that are bound to asset objects.
    """

    def __init__(self, resources: _Resources, bound: Iterable[_Resources]) -> None:
        self._resources = resources
        self._bound = tuple(each for each in bound if each)
        self._found: dict[tuple[str, int], OwnManager | None] = {}

    def of(self, key: str, *bound: _Resources) -> OwnManager | None:
        """The IO manager behind a key.

        Args:
            key: of the resource.
            bound: the resources of the asset objects that name it; what is bound to one of them
                counts for all of a run.

        Returns:
            None if there is none, or if it is the library's own.
        """
        value = next((each[key] for each in bound if key in each), self._resources.get(key))
        if value is None or isinstance(value, MetaxyIOManager):
            return None
        known = (key, id(value))
        if known not in self._found:
            self._found[known] = self._read(key, value)
        return self._found[known]

    def _read(self, key: str, value: Any) -> OwnManager | None:
        if not _compat.is_io_manager(value):
            return None
        holders = sorted(self._holders.get(_compat.identity(value), ()))
        obstacle = None
        if holders:
            names = ", ".join(map(repr, holders))
            obstacle = f"it is configured at launch, and the resource {names} holds it"
        return OwnManager(key, value, obstacle)

    @cached_property
    def _holders(self) -> Mapping[int, set[str]]:
        """By what is configured at launch, the other resources that hold it."""
        found: dict[int, set[str]] = {}
        for name, held in self._held():
            found.setdefault(_compat.identity(held), set()).add(name)
        return found

    def _held(self) -> Iterator[tuple[str, Any]]:
        for resources in (self._resources, *self._bound):
            for name, value in resources.items():
                yield from ((name, held) for held in _compat.nested_at_launch(value))
