"""Every private Dagster name this package leans on, behind one function each.

``tests/definitions/test_compat.py`` pins what is assumed of each, so that a Dagster release
which changes one of them fails there and not in somebody's repository.
"""

from __future__ import annotations

from dagster._core.definitions.assets.definition.cacheable_assets_definition import (
    CacheableAssetsDefinition,
)
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.graph_definition import SubselectedGraphDefinition
from dagster._core.definitions.node_definition import NodeDefinition
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster.components.definitions import LazyDefinitions

from metaxy_dagster.definitions._compat.automations import (
    executed_keys,
    in_code_location,
    is_fixed,
    job_with_selection,
    partitioned_with_job,
    schedule_with_job,
    selection_with_keys,
    sensor_with,
    targets_of,
    watched_by,
    watches_code_versions,
)
from metaxy_dagster.definitions._compat.config import config_fields, default_config
from metaxy_dagster.definitions._compat.definitions import (
    DAGSTER_ERRORS,
    DEFAULT_GROUP,
    DEFAULT_IO_MANAGER_KEY,
    IO_MANAGER_METADATA_KEY,
    KIND_PREFIX,
    asset_graph,
    attributes_of,
    check_with_keys,
    definitions_fields,
    dep_metadata,
    dep_with,
    external_from_source,
    kind_limit,
    lazy_with,
    partition_mapping_fault,
    quiet,
    rebuilt,
)
from metaxy_dagster.definitions._compat.functions import (
    called_by,
    constants_of,
    functions_of_automation,
    gives_results,
    words_of,
)
from metaxy_dagster.definitions._compat.io_managers import (
    identity,
    is_in_memory,
    is_io_manager,
    manager_name,
    nested_at_launch,
    never_loads,
)
from metaxy_dagster.definitions._compat.merging import with_told_conflicts
from metaxy_dagster.definitions._compat.missing import may_lack_assets
from metaxy_dagster.definitions._compat.nodes import (
    Loaded,
    destinations,
    functions_of,
    gives_nothing,
    graph_with,
    inner_nodes,
    invocations_of,
    is_nothing,
    needed_resources,
    op_with,
    origin_of,
    output_manager,
    renamed_invocation,
)

__all__ = [
    "DAGSTER_ERRORS",
    "DEFAULT_GROUP",
    "DEFAULT_IO_MANAGER_KEY",
    "IO_MANAGER_METADATA_KEY",
    "KIND_PREFIX",
    "AssetGraph",
    "AutomationTarget",
    "CacheableAssetsDefinition",
    "LazyDefinitions",
    "Loaded",
    "NodeDefinition",
    "SubselectedGraphDefinition",
    "UnresolvedAssetJobDefinition",
    "asset_graph",
    "attributes_of",
    "called_by",
    "check_with_keys",
    "config_fields",
    "constants_of",
    "default_config",
    "definitions_fields",
    "dep_metadata",
    "dep_with",
    "destinations",
    "executed_keys",
    "external_from_source",
    "functions_of",
    "functions_of_automation",
    "gives_nothing",
    "gives_results",
    "graph_with",
    "identity",
    "in_code_location",
    "inner_nodes",
    "invocations_of",
    "is_fixed",
    "is_in_memory",
    "is_io_manager",
    "is_nothing",
    "job_with_selection",
    "kind_limit",
    "lazy_with",
    "manager_name",
    "may_lack_assets",
    "needed_resources",
    "nested_at_launch",
    "never_loads",
    "op_with",
    "origin_of",
    "output_manager",
    "partition_mapping_fault",
    "partitioned_with_job",
    "quiet",
    "rebuilt",
    "renamed_invocation",
    "schedule_with_job",
    "selection_with_keys",
    "sensor_with",
    "targets_of",
    "watched_by",
    "watches_code_versions",
    "with_told_conflicts",
    "words_of",
]
