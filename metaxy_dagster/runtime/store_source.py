"""The store behind whatever a repository has under a resource's name."""

from __future__ import annotations

from typing import Any

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.stores import MetadataStore

__all__ = ["store_within"]


def store_within(value: object, instance: dg.DagsterInstance | None = None) -> MetadataStore:
    """The store itself.

    Args:
        value: a store, the resource that makes it, or an IO manager that has it.
        instance: where the default store lives, if it is that.

    Raises:
        RunError: there is no store in it.

    Example:
        >>> import tempfile
        >>> resource = MetaxyStoreFromConfigResource(path=f"{tempfile.mkdtemp()}/m.duckdb")
        >>> store_within(resource).features()
        []
    """
    found: Any = value
    if not isinstance(found, MetadataStore | MetaxyStoreFromConfigResource):
        found = getattr(found, "store", None)
    if isinstance(found, MetaxyStoreFromConfigResource):
        return found.get_store(instance)
    if isinstance(found, MetadataStore):
        return found
    raise RunError(
        "there is no metadata store in this resource",
        found=f"{type(value).__name__}: {value!r}",
        allowed="a MetadataStore, a store resource, or an IO manager that has one",
        remedy="name the resource that holds the store",
    )
