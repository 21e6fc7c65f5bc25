"""Which parts of a run's configuration and resources count as inputs of a computation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from metaxy_dagster.features.versions import digest

__all__ = ["MISSING", "InputKeys", "resource_version"]

#: Of a key that has no default and was not given.
MISSING: Final = object()
_VERSIONS: Final = ("version", "code_version")
_PARTS: Final = ("config", "resources")


@dataclass(frozen=True)
class InputKeys:
    """What the metadata key ``metaxy/config_version`` says.

    Attributes:
        config: keys of the run's configuration of the asset, nested ones with dots; ``True`` for
            all of it.
        resources: keys of resources.

    Example:
        >>> keys = InputKeys.of(["model.name"])
        >>> one = keys.version({"model": {"name": "a"}, "batch": 1}, {})
        >>> one == keys.version({"batch": 2, "model": {"name": "a"}}, {})
        True
        >>> one == keys.version({"model": {"name": "b"}}, {})
        False
    """

    config: Literal[True] | tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: object) -> InputKeys | None:
        """Read a value of the key; ``None`` if it is none that is allowed."""
        if isinstance(value, Mapping):
            if not value or set(value) - set(_PARTS):
                return None
            config, resources = _names(value.get("config", ())), _names(value.get("resources", ()))
            if config is None or resources is None or resources is True:
                return None
            return cls(config, resources) if config or resources else None
        config = _names(value)
        return cls(config) if config else None

    def version(self, config: Mapping[str, Any], resources: Mapping[str, Any]) -> str:
        """The hash of these parts; the order of keys does not matter.

        Args:
            config: the whole configuration of the asset.
            resources: what stands for the version of each resource, from :func:`resource_version`.
        """
        parts: list[str | None] = ["config", "all" if self.config is True else "some"]
        if self.config is True:
            parts.append(_canonical(config))
        else:
            for name in sorted(set(self.config)):
                parts += [name, _canonical(_at(config, name))]
        for key in sorted(set(self.resources)):
            parts += ["resource", key, _canonical(resources.get(key))]
        return digest(*parts)

    def missing(self, config: Mapping[str, Any]) -> list[str]:
        """The keys that would count, and have neither a value nor a default."""
        names = [name for name, value in _leaves(config) if value is MISSING]
        if self.config is True:
            return names
        return [name for name in names if any(_covers(one, name) for one in self.config)]


def resource_version(resource: object, config: object) -> Any:
    """What stands for the version of a resource.

    Args:
        resource: the resource as steps see it.
        config: how it is configured.

    Returns:
        Its attribute ``version`` or ``code_version``, else what it is configured with under such a
        name, else its whole configuration; ``None`` where there is nothing.
    """
    for name in _VERSIONS:
        found = getattr(resource, name, None)
        if isinstance(found, str | int | float):
            return {"version": found}
    if isinstance(config, Mapping):
        for name in _VERSIONS:
            if config.get(name) is not None:
                return {"version": config[name]}
    return {"config": config} if config else None


def _names(value: object) -> Literal[True] | tuple[str, ...] | None:
    if value is True:
        return True
    if not isinstance(value, list | tuple | set | frozenset):
        return None
    names = sorted(value, key=str)
    if not all(isinstance(name, str) and name for name in names):
        return None
    return tuple(names)


def _at(config: object, name: str) -> object:
    found = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _leaves(config: object, *before: str) -> Iterable[tuple[str, object]]:
    if not isinstance(config, Mapping):
        yield ".".join(before), config
        return
    for name, value in config.items():
        yield from _leaves(value, *before, str(name))


def _covers(one: str, name: str) -> bool:
    return one == name or name.startswith(f"{one}.") or one.startswith(f"{name}.")


def _canonical(value: object) -> str | None:
    plain = _plain(value)
    return None if plain is None or plain == {} else json.dumps(plain, sort_keys=True)


def _plain(value: object) -> object:
    """A value of configurations as JSON knows it; what is not set counts as left out."""
    if isinstance(value, Mapping):
        parts = {str(name): _plain(one) for name, one in value.items()}
        return {name: one for name, one in parts.items() if one is not None and one != {}}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | None) else str(value)
