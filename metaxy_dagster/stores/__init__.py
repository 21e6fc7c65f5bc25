"""Metadata stores: where samples and what they were computed from are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.late import late_names

_HOMES = {
    "metaxy_dagster.stores.config": (
        "MetaxyConfig",
        "StoreConfig",
        "load_config",
    ),
    "metaxy_dagster.stores.counts": ("Counts",),
    "metaxy_dagster.stores.compaction_result": ("CompactionResult",),
    "metaxy_dagster.stores.id_migration": ("IdMigration",),
    "metaxy_dagster.stores.duckdb.store": ("DuckDBMetadataStore",),
    "metaxy_dagster.stores.failures": ("FailureResult",),
    "metaxy_dagster.stores.increment": ("Increment",),
    "metaxy_dagster.stores.project": ("init",),
    "metaxy_dagster.stores.protocol": ("MetadataStore",),
    "metaxy_dagster.stores.results": ("Adoption", "AlterResult", "WriteResult"),
}

if TYPE_CHECKING:
    from metaxy_dagster.stores.compaction_result import CompactionResult
    from metaxy_dagster.stores.config import MetaxyConfig, StoreConfig, load_config
    from metaxy_dagster.stores.counts import Counts
    from metaxy_dagster.stores.duckdb.store import DuckDBMetadataStore
    from metaxy_dagster.stores.failures import FailureResult
    from metaxy_dagster.stores.id_migration import IdMigration
    from metaxy_dagster.stores.increment import Increment
    from metaxy_dagster.stores.project import init
    from metaxy_dagster.stores.protocol import MetadataStore
    from metaxy_dagster.stores.results import Adoption, AlterResult, WriteResult

__all__ = [
    "Adoption",
    "AlterResult",
    "CompactionResult",
    "Counts",
    "DuckDBMetadataStore",
    "FailureResult",
    "IdMigration",
    "Increment",
    "MetadataStore",
    "MetaxyConfig",
    "StoreConfig",
    "WriteResult",
    "init",
    "load_config",
]

__getattr__, __dir__ = late_names(__name__, _HOMES, __all__)
