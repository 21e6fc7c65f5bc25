"""What runs inside a Dagster process."""

from __future__ import annotations

from metaxy_dagster.runtime.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.runtime.results import generate_materialize_results

__all__ = ["MetaxyIOManager", "MetaxyStoreFromConfigResource", "generate_materialize_results"]
