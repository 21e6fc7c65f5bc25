"""Metadata stores: where samples and what they were computed from are remembered."""

from __future__ import annotations

from metaxy_dagster.stores.config import MetaxyConfig, StoreConfig, load_config
from metaxy_dagster.stores.counts import Counts
from metaxy_dagster.stores.duckdb.compaction import CompactionResult
from metaxy_dagster.stores.duckdb.store import DuckDBMetadataStore
from metaxy_dagster.stores.failures import FailureResult
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.protocol import MetadataStore, WriteResult

__all__ = [
    "CompactionResult",
    "Counts",
    "DuckDBMetadataStore",
    "FailureResult",
    "Increment",
    "MetadataStore",
    "MetaxyConfig",
    "StoreConfig",
    "WriteResult",
    "load_config",
]
