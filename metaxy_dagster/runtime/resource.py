"""The metadata store as a Dagster resource."""

# Annotations are not postponed here: Dagster reads ResourceDependency when the class is made.

from collections.abc import Hashable
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from metaxy_dagster.features import FeatureGraph
from metaxy_dagster.runtime.sharing import bound_once, made_once
from metaxy_dagster.stores import DuckDBMetadataStore, MetadataStore, MetaxyConfig, load_config

__all__ = ["MetaxyStoreFromConfigResource", "bind_graph"]

FILE_NAME = "metaxy.duckdb"


class MetaxyStoreFromConfigResource(dg.ConfigurableResource[MetadataStore]):
    """Gives assets a :class:`MetadataStore`: a configured one, a file, or the default.

    With ``path`` it is an embedded store in that file. With ``name``, or where a configuration
    is found, it is the store of that name in ``metaxy.toml``. With neither, and no
    configuration anywhere, it is an embedded file in the Dagster instance's storage directory.

    A resource of your own that writes should hold this one, not a bare store: Dagster 1.11 and
    early releases of 1.12 open a bare one for reading, for as long as the steps run.

    Raises:
        ConfigError: when the store is made: no such store, an unset environment variable.

    Example:
        >>> import tempfile
        >>> resource = MetaxyStoreFromConfigResource(path=f"{tempfile.mkdtemp()}/m.duckdb")
        >>> resource.get_store().features()
        []
    """

    name: str | None = Field(default=None, description="The store's name in the configuration.")
    path: str | None = Field(default=None, description="An embedded store's file.")
    config_file: str | None = Field(
        default=None, description="The configuration file, by default the nearest metaxy.toml."
    )
    lock_timeout: float = Field(
        default=60.0, description="Seconds to wait for other processes (embedded store only)."
    )
    graph: dg.ResourceDependency[FeatureGraph | None] = None  # type: ignore[assignment] # Dagster's way

    def create_resource(self, context: dg.InitResourceContext) -> MetadataStore:
        """Called by Dagster for each run."""
        return self.get_store(context.instance)

    def get_store(self, instance: dg.DagsterInstance | None = None) -> MetadataStore:
        """The store, also outside a run.

        Args:
            instance: where the default file lives; by default the instance of ``DAGSTER_HOME``.
        """
        graph = self.graph
        if self.path is not None:
            return DuckDBMetadataStore(self.path, graph=graph, lock_timeout=self.lock_timeout)
        config = load_config(self.config_file)
        if config is not None and (self.name is not None or config.stores):
            return config.get_store(self.name, graph=graph)
        if self.name is not None:
            # Nothing is configured, so let the configuration say so in its own words.
            return MetaxyConfig().get_store(self.name)
        storage = (instance or dg.DagsterInstance.get()).storage_directory()
        path = f"{storage}/{FILE_NAME}"
        return DuckDBMetadataStore(path, graph=graph, lock_timeout=self.lock_timeout)


def bind_graph(resource: Any, graph: FeatureGraph) -> Any:
    """The same resource for these features, if it was not given features of its own.

    What passes over other definitions were given for equal settings is given again, and knows
    the features of all of them, unless these contradict each other.

    Args:
        resource: a store, a store resource, an IO manager that has one, or anything else.
        graph: the features.

    Returns:
        A bound copy, or the same object where there is nothing to bind.
    """
    if isinstance(resource, MetadataStore):
        own = resource.graph if resource.has_graph else None
        settings: Hashable = (type(resource), id(resource))
        return bound_once(resource, settings, own, graph, resource.with_graph)
    if isinstance(resource, MetaxyStoreFromConfigResource):
        settings = (type(resource), _settings(resource, "graph"))
        bind: Any = partial(_bound, resource, "graph")
        return bound_once(resource, settings, resource.graph, graph, bind)
    store = getattr(resource, "store", None)
    if isinstance(resource, dg.ConfigurableIOManager) and store is not None:
        bound = bind_graph(store, graph)
        if bound is store:
            return resource
        settings = (type(resource), _settings(resource, "store"))
        return made_once(bound, settings, lambda: _bound(resource, "store", bound))
    return resource


def _bound(resource: Any, name: str, value: object) -> Any:
    """The same resource with another value for one of its fields."""
    fields = {each: getattr(resource, each) for each in type(resource).model_fields}
    return type(resource)(**{**fields, name: value})


def _settings(resource: Any, but: str) -> Hashable:
    """All fields of a resource but one; what has no value of its own counts as itself."""
    names = [each for each in type(resource).model_fields if each != but]
    values = {each: getattr(resource, each) for each in names}
    return tuple(
        (name, value if isinstance(value, str | int | float | None) else id(value))
        for name, value in values.items()
    )
