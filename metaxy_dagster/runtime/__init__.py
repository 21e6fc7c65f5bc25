"""What runs inside a Dagster process."""

from __future__ import annotations

from metaxy_dagster.runtime.dagster_type import feature_to_dagster_type
from metaxy_dagster.runtime.deletion import DeleteSamples, delete
from metaxy_dagster.runtime.io_manager import MetaxyIOManager
from metaxy_dagster.runtime.observable import observable_metaxy_asset
from metaxy_dagster.runtime.observation_job import (
    build_metaxy_multi_observation_job,
    build_metaxy_observation_job,
)
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.runtime.results import generate_materialize_results, generate_observe_results
from metaxy_dagster.runtime.selection import select_metaxy_assets

__all__ = [
    "DeleteSamples",
    "MetaxyIOManager",
    "MetaxyStoreFromConfigResource",
    "build_metaxy_multi_observation_job",
    "build_metaxy_observation_job",
    "delete",
    "feature_to_dagster_type",
    "generate_materialize_results",
    "generate_observe_results",
    "observable_metaxy_asset",
    "select_metaxy_assets",
]
