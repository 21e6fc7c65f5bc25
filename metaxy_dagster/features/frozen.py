"""Read-only containers, so that specs can be shared, compared and hashed by value."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.text import check_encodable

__all__ = ["FrozenMapping", "freeze", "thaw"]

MAX_DEPTH = 50

K = TypeVar("K", bound=Hashable)
V_co = TypeVar("V_co", covariant=True)


class FrozenMapping(Mapping[K, V_co]):
    """A mapping that cannot be changed and can be hashed; equal to any mapping of equal items.

    Example:
        >>> FrozenMapping({"a": 1}) == {"a": 1}
        True
        >>> len({FrozenMapping({"a": 1}), FrozenMapping({"a": 1})})
        1
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V_co] | Iterable[tuple[K, V_co]] = ()) -> None:
        self._items: dict[K, V_co] = dict(items)

    def __getitem__(self, key: K) -> V_co:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"


def freeze(value: object) -> Any:
    """Make a read-only copy of a JSON-like value: mappings frozen, lists as tuples.

    Raises:
        FeatureError: a value that JSON has no form for, a key that is not text, or more than
            ``MAX_DEPTH`` levels.

    Example:
        >>> freeze({"owners": ["ann"]})
        FrozenMapping({'owners': ('ann',)})
    """
    return _freeze(value, "value", MAX_DEPTH)


def _freeze(value: object, path: str, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return check_encodable(value, path)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth and isinstance(value, list | tuple):
        return tuple(_freeze(item, f"{path}[{i}]", depth - 1) for i, item in enumerate(value))
    if depth and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return FrozenMapping(
            {
                check_encodable(name, path): _freeze(item, f"{path}[{name!r}]", depth - 1)
                for name, item in value.items()
            }
        )
    raise FeatureError(
        f"{path} cannot be written as JSON",
        found=f"{reprlib.repr(value)} of type {type(value).__name__}",
        allowed="text, finite numbers, booleans, None, and lists and text-keyed mappings of these"
        f" up to {MAX_DEPTH} levels deep",
        remedy="convert the value, for instance with str()",
    )


def thaw(value: object) -> Any:
    """Undo :func:`freeze`: plain dicts and lists, as JSON libraries and Dagster expect them.

    Example:
        >>> thaw(freeze({"owners": ["ann"]}))
        {'owners': ['ann']}
    """
    if isinstance(value, Mapping):
        return {name: thaw(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value
