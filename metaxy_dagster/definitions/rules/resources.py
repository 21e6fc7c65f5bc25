"""The resources that feature assets need, where a repository does not have them yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource, bind_graph
from metaxy_dagster.runtime.sharing import made_once
from metaxy_dagster.stores import MetadataStore
from metaxy_dagster.stores.config import load_config
from metaxy_dagster.stores.paths import local_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.definitions.settings import MetaxifySettings
    from metaxy_dagster.features.graph import FeatureGraph

__all__ = ["Resources", "Stored", "configured_project", "plan_resources", "stored_in"]


@dataclass(frozen=True, eq=False)
class Resources:
    """Resources to be set, and where each comes from."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[tuple[str, Change]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def set(self, name: str, value: object, shown: str, why: str) -> None:
        """Note one resource."""
        self.values[name] = value
        self.notes.append((name, Change("resource", shown, why)))


def plan_resources(
    existing: Mapping[str, Any], store: object, graph: FeatureGraph, settings: MetaxifySettings
) -> Resources:
    """The store and the IO manager, added where absent and bound to the features.

    A resource that the repository has stays: only the features are bound to it, if it is a store
    or an IO manager of this library without features of its own.

    Args:
        existing: the repository's resources.
        store: a MetadataStore, a resource, the path of an embedded file, or None.
        graph: the features of the pass.
        settings: name the IO manager resource, and say how it is made where it is added.

    Returns:
        The resources to set; none where all is there already.

    Raises:
        DefinitionsError: ``store`` is something else.
    """
    resources, io_manager_key = Resources(), settings.io_manager_key
    present = existing.get(RESOURCE_STORE)
    manager = existing.get(io_manager_key)
    if present is not None and manager is not None:
        for name, value in ((RESOURCE_STORE, present), (io_manager_key, manager)):
            again = bind_graph(value, graph)
            if again is not value:
                resources.set(name, again, type(again).__name__, "bound to the features")
        return resources
    mine = _is_store(present) and (store is None or store is present)
    if store is not None:
        chosen, why = _store_from(store), "the store argument"
    elif mine:
        chosen, why = present, "the repository's own store"
    else:
        chosen, why = MetaxyStoreFromConfigResource(), "default"
    bound = bind_graph(chosen, graph)
    if present is None or (mine and bound is not present):
        resources.set(RESOURCE_STORE, bound, type(bound).__name__, why)
    if manager is None:
        options: dict[str, Any] = {
            "max_deleted_share": settings.max_deleted_share,
            "failed_rows": settings.failed_rows,
            "unannotated": settings.unannotated or "narwhals",
            "enable_preview": settings.enable_preview,
        }
        made = made_once(
            bound,
            (MetaxyIOManager, *options.items()),
            lambda: MetaxyIOManager(store=bound, **options),
        )
        resources.set(io_manager_key, made, type(made).__name__, why)
    if present is not None and not mine:
        resources.notices.append(
            Notice(
                NoticeKind.RESOURCE,
                f"the repository's own resource {RESOURCE_STORE!r} ({type(present).__name__}) "
                f"stays; feature assets are stored in {type(bound).__name__} ({why})",
            )
        )
    return resources


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


def stored_in(existing: Mapping[str, Any], resources: Resources, io_manager_key: str) -> Stored:
    """Where features are stored.

    The store is in the resource that is named for it, unless the repository has something else by
    that name while features go through the library's own IO manager.

    Args:
        existing: the repository's resources.
        resources: those that are set on top of them.
        io_manager_key: the name of the IO manager resource.
    """
    values = {**existing, **resources.values}
    store, manager = values.get(RESOURCE_STORE), values.get(io_manager_key)
    ours = isinstance(manager, MetaxyIOManager)
    if ours and not _is_store(store):
        return Stored(io_manager_key, manager, ours)
    return Stored(RESOURCE_STORE, store, ours)


def configured_project() -> str | None:
    """The project that the nearest configuration names, if there is one.

    Raises:
        ConfigError: there is a configuration, but it is not valid.
    """
    config = load_config()
    return config.project if config is not None else None


def _store_from(store: object) -> Any:
    if isinstance(store, str | Path):
        local_path(store)  # said here, not in the first run
        return MetaxyStoreFromConfigResource(path=str(store))
    if _is_store(store) or isinstance(store, dg.ResourceDefinition | dg.ConfigurableResource):
        return store
    raise DefinitionsError(
        "store is nothing that a feature can be stored in",
        found=f"{type(store).__name__}: {store!r}",
        allowed="a MetadataStore, a store resource, or the path of an embedded file",
        remedy='pass store="data/metaxy.duckdb", or leave it out for the configured store',
    )


def _is_store(value: object) -> bool:
    return isinstance(value, MetadataStore | MetaxyStoreFromConfigResource)
