"""Where features are stored, and what handles which output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions import _compat
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.stores import MetadataStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = [
    "Stored",
    "is_store",
    "manager_of",
    "named_manager",
    "output_of",
    "stored_by",
    "stored_in",
]


@dataclass(frozen=True, eq=False)
class Stored:
    """Where features are stored, once the resources are set.

    Args:
        key: the resource that checks and sensors find the store in.
        value: that resource.
        ours: whether outputs that are routed go through the library's own IO manager.
    """

    key: str
    value: object
    ours: bool

    @property
    def store(self) -> object:
        """The resource that is the store, also where an IO manager holds it."""
        return getattr(self.value, "store", None) or self.value


def stored_in(values: Mapping[str, Any], io_manager_key: str) -> Stored:
    """Where features are stored.

    The store is in the resource that is named for it, unless the repository has something else by
    that name while features go through the library's own IO manager.

    Args:
        values: the repository's resources, with those that are set on top of them.
        io_manager_key: the name of the IO manager resource.
    """
    store, manager = values.get(RESOURCE_STORE), values.get(io_manager_key)
    ours = isinstance(manager, MetaxyIOManager)
    if ours and not is_store(store):
        return Stored(io_manager_key, manager, ours)
    return Stored(RESOURCE_STORE, store, ours)


def is_store(value: object) -> bool:
    """Whether a resource is a store of features."""
    return isinstance(value, MetadataStore | MetaxyStoreFromConfigResource)


def stored_by(unit: Unit, key: dg.AssetKey, routed: Mapping[str, str]) -> str | None:
    """The IO manager that handles what an asset returns; None where nothing is handled.

    Args:
        unit: the object that defines the asset.
        key: the asset.
        routed: output names and the IO managers that they are routed to.
    """
    name, output = output_of(unit, key)
    if name is None or output is None or not unit.materializable or _compat.is_nothing(output):
        return None
    own: str = output.io_manager_key
    return routed.get(name, own)


def output_of(unit: Unit, key: dg.AssetKey) -> tuple[str | None, dg.OutputDefinition | None]:
    """The output of a unit that is an asset, by its name; None where there is none."""
    definition = unit.definition
    if definition is not None and unit.executable:
        for name, each in definition.node_keys_by_output_name.items():
            if each == key:
                return name, _compat.origin_of(definition.node_def, name)
    return None, None


def manager_of(unit: Unit, spec: dg.AssetSpec) -> str:
    """The key of the IO manager that an asset has in the repository, whatever its type.

    Args:
        unit: the object that defines the asset.
        spec: the asset.
    """
    name, output = output_of(unit, spec.key)
    if name is not None and output is not None and unit.materializable:
        own: str = output.io_manager_key
        return own
    return named_manager(spec)


def named_manager(spec: dg.AssetSpec) -> str:
    """The key of the IO manager that the metadata of a spec names."""
    named = spec.metadata.get(_compat.IO_MANAGER_METADATA_KEY)
    if named is None:
        return _compat.DEFAULT_IO_MANAGER_KEY
    return str(getattr(named, "value", named))
