"""The store that a command looks into, and the features that it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.cli.unknown import unknown_names
from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.errors import ConfigError
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.stores import DuckDBMetadataStore, MetadataStore, load_config

if TYPE_CHECKING:
    from metaxy_dagster.cli.load import Loaded
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["carriers", "chosen_features", "opened_store"]


def carriers(loaded: Loaded) -> dict[FeatureKey, tuple[str, ...]]:
    """The features that assets carry, each with these assets."""
    found: dict[FeatureKey, dict[str, None]] = {}
    for plan in loaded.plans:
        for asset in plan.assets:
            if asset.feature is not None:
                key = asset.spec.key.to_user_string()
                found.setdefault(asset.feature, {})[key] = None
    return {feature: tuple(assets) for feature, assets in found.items()}


def _graph(loaded: Loaded) -> FeatureGraph:
    """The features of all passes, each as the pass knows it whose assets carry it."""
    graph = FeatureGraph()
    for plan in loaded.plans:
        for key in sorted({each.feature for each in plan.assets if each.feature is not None}):
            if key in plan.graph and key not in graph:
                graph.add(plan.graph[key])
    for plan in loaded.plans:
        for key in plan.graph:
            if key not in graph:
                graph.add(plan.graph[key])
    return graph


@contextlib.contextmanager
def opened_store(loaded: Loaded, named: str | None) -> Iterator[MetadataStore]:
    """The store of a repository's features; no session is open on it.

    Args:
        loaded: the repository.
        named: a configured store's name, or a file; by default the repository's own store.

    Raises:
        ConfigError: no store is found.
    """
    graph = _graph(loaded)
    if named is not None:
        config = load_config()
        if config is not None and named in config.stores:
            yield config.get_store(named, graph=graph)
        else:
            yield DuckDBMetadataStore(named, graph=graph)
        return
    resource: Any = MetaxyStoreFromConfigResource()
    if loaded.defs is not None:
        resource = (loaded.defs.resources or {}).get(RESOURCE_STORE, resource)
    if isinstance(resource, MetadataStore):
        yield resource.with_graph(graph)
    elif isinstance(resource, MetaxyStoreFromConfigResource):
        yield _from_resource(resource).with_graph(graph)
    else:
        with _made(resource) as made:
            yield made.with_graph(graph)


def _from_resource(resource: MetaxyStoreFromConfigResource) -> MetadataStore:
    try:
        return resource.get_store()
    except dg.DagsterError as error:
        raise ConfigError(
            "the repository's store is in the Dagster instance's storage directory, and there "
            "is no instance",
            found=f"{type(error).__name__}: {error}",
            remedy="set DAGSTER_HOME to the directory of the instance, or name the file with "
            "--store",
        ) from None


@contextlib.contextmanager
def _made(resource: Any) -> Iterator[MetadataStore]:
    """A store from a resource of the user's own."""
    with dg.build_resources({RESOURCE_STORE: resource}) as resources:
        made = getattr(resources, RESOURCE_STORE)
        if not isinstance(made, MetadataStore):
            raise ConfigError(
                f"the repository's resource {RESOURCE_STORE!r} is no metadata store",
                found=type(made).__name__,
                allowed="a MetadataStore, or a resource that gives one",
                remedy="name the store of the features with --store",
            )
        yield made


def chosen_features(
    store: MetadataStore, named: Sequence[str], carried: Iterable[FeatureKey]
) -> list[FeatureKey]:
    """The features that the command line names; without any, those that assets carry.

    Raises:
        ConfigError: there is no such feature.
    """
    if not named:
        return list(carried)
    known = {str(key): key for key in store.graph}
    unknown = [name for name in named if name not in known]
    if unknown:
        raise unknown_names("feature", unknown, known)
    return [known[name] for name in dict.fromkeys(named)]
