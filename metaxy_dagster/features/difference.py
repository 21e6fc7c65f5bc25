"""How two specs of one feature differ, attribute by attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["difference"]

_MISSING = object()
# Lists whose entries have a name, and the entry that holds it.
_NAMED = {"fields": "key", "deps": "feature"}


def difference(first: FeatureSpec, second: FeatureSpec) -> tuple[str, ...]:
    """Describe each attribute in which two specs differ; empty if they are equal.

    Example:
        >>> one = FeatureSpec("a", id_columns=["id"], fields={"x": "1"})
        >>> two = FeatureSpec("a", id_columns=["id"], fields={"x": "2"})
        >>> difference(one, two)
        ("fields['x'].code_version: '1' or '2'",)
    """
    return tuple(_between(first.model_dump(mode="json"), second.model_dump(mode="json"), ""))


def _between(first: Mapping[str, Any], second: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in dict.fromkeys((*first, *second)):
        one, two = first.get(name, _MISSING), second.get(name, _MISSING)
        where = f"{path}.{name}" if path else name
        if one == two:
            continue
        if name in _NAMED and not path:
            yield from _between_named(one, two, name)
        elif isinstance(one, Mapping) and isinstance(two, Mapping):
            yield from _between(one, two, where)
        else:
            yield f"{where}: {_shown(one)} or {_shown(two)}"


def _between_named(
    first: list[dict[str, Any]], second: list[dict[str, Any]], name: str
) -> Iterator[str]:
    ones = {entry[_NAMED[name]]: entry for entry in first}
    twos = {entry[_NAMED[name]]: entry for entry in second}
    if ones == twos:
        yield f"order of {name}: {list(ones)} or {list(twos)}"
    for key in dict.fromkeys((*ones, *twos)):
        if key not in ones or key not in twos:
            yield f"{name}[{key!r}]: only in the {'first' if key in ones else 'second'}"
        else:
            yield from _between(ones[key], twos[key], f"{name}[{key!r}]")


def _shown(value: object) -> str:
    return "nothing" if value is _MISSING else repr(value)
