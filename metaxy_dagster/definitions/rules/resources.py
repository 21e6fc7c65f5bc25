"""The resources that feature assets need, where a repository does not have them yet."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.definitions.draft.findings import Added
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import is_store
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource, bind_graph
from metaxy_dagster.runtime.sharing import made_once
from metaxy_dagster.stores.paths import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.settings import MetaxifySettings

__all__ = ["chosen_store", "resources"]


@partial(RepositoryRule, whole=True)
def resources(bindings: Bindings, _: Draft) -> Iterator[Added | MetaxyError]:
    """The store and the IO manager, added where absent and bound to the features.

    A resource that the repository has stays: only the features are bound to it, if it is a store
    or an IO manager of this library without features of its own.
    """
    existing, graph, settings = bindings.resources, bindings.graph, bindings.settings
    if not bindings.declared.by_asset and bindings.request.store is None:
        return
    present = existing.get(RESOURCE_STORE)
    manager = existing.get(settings.io_manager_key)
    if present is not None and manager is not None:
        for name, value in ((RESOURCE_STORE, present), (settings.io_manager_key, manager)):
            again = bind_graph(value, graph)
            if again is not value:
                yield _added(name, again, "bound to the features")
        return
    try:
        chosen, why = chosen_store(bindings)
    except MetaxyError as error:
        yield error
        return
    bound = bind_graph(chosen, graph)
    if present is None or (chosen is present and bound is not present):
        yield _added(RESOURCE_STORE, bound, why)
    if manager is None:
        yield _added(settings.io_manager_key, _io_manager(bound, settings), why)


def chosen_store(bindings: Bindings) -> tuple[Any, str]:
    """What features are stored in: what was asked for, or is there, or the default.

    Args:
        bindings: the repository, and the request.

    Returns:
        The store, and why it is this one.

    Raises:
        DefinitionsError: what was asked for is nothing that a feature can be stored in.
    """
    store, present = bindings.request.store, bindings.resources.get(RESOURCE_STORE)
    if store is not None:
        return _store_from(store), "the store argument"
    if is_store(present):
        return present, "the repository's own store"
    return MetaxyStoreFromConfigResource(), "default"


def _io_manager(store: Any, settings: MetaxifySettings) -> MetaxyIOManager:
    options: dict[str, Any] = {
        "max_deleted_share": settings.max_deleted_share,
        "failed_rows": settings.failed_rows,
        "unannotated": settings.unannotated or "narwhals",
        "enable_preview": settings.enable_preview,
    }
    made: MetaxyIOManager = made_once(
        store,
        (MetaxyIOManager, *options.items()),
        lambda: MetaxyIOManager(store=store, **options),
    )
    return made


def _added(name: str, value: object, why: str) -> Added:
    return Added("resources", name, value, Change("resource", type(value).__name__, why))


def _store_from(store: object) -> Any:
    if isinstance(store, str | Path):
        local_path(store)  # said here, not in the first run
        return MetaxyStoreFromConfigResource(path=str(store))
    if is_store(store) or isinstance(store, dg.ResourceDefinition | dg.ConfigurableResource):
        return store
    raise DefinitionsError(
        "store is nothing that a feature can be stored in",
        found=f"{type(store).__name__}: {store!r}",
        allowed="a MetadataStore, a store resource, or the path of an embedded file",
        remedy='pass store="data/metaxy.duckdb", or leave it out for the configured store',
    )
