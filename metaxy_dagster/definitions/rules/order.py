"""All rules, in the order in which they apply: to add one is to add its file, and a line here."""

from __future__ import annotations

from typing import Final

from metaxy_dagster.definitions.bindings.bindings import Step
from metaxy_dagster.definitions.draft.rule import Rule
from metaxy_dagster.definitions.rules.automations import automations
from metaxy_dagster.definitions.rules.batching import batching
from metaxy_dagster.definitions.rules.bound import bound
from metaxy_dagster.definitions.rules.checks import checks
from metaxy_dagster.definitions.rules.circles import circles
from metaxy_dagster.definitions.rules.code_version import code_version
from metaxy_dagster.definitions.rules.condition import condition
from metaxy_dagster.definitions.rules.condition_sensors import condition_sensors
from metaxy_dagster.definitions.rules.deps import deps
from metaxy_dagster.definitions.rules.description import description
from metaxy_dagster.definitions.rules.externals import externals
from metaxy_dagster.definitions.rules.feature_order import feature_order
from metaxy_dagster.definitions.rules.group import group
from metaxy_dagster.definitions.rules.grouping import grouping
from metaxy_dagster.definitions.rules.hardcoded import hardcoded
from metaxy_dagster.definitions.rules.internal_deps import internal_deps
from metaxy_dagster.definitions.rules.keeping import keeping
from metaxy_dagster.definitions.rules.kept_resource import kept_resource
from metaxy_dagster.definitions.rules.kinds import kinds
from metaxy_dagster.definitions.rules.limits import limits
from metaxy_dagster.definitions.rules.long_chain import long_chain
from metaxy_dagster.definitions.rules.lost_history import lost_history
from metaxy_dagster.definitions.rules.mappings import mappings
from metaxy_dagster.definitions.rules.metadata import metadata
from metaxy_dagster.definitions.rules.metadata_values import metadata_values
from metaxy_dagster.definitions.rules.new_key import new_key
from metaxy_dagster.definitions.rules.own_bodies import own_bodies
from metaxy_dagster.definitions.rules.own_checks import own_checks
from metaxy_dagster.definitions.rules.own_writes import own_writes
from metaxy_dagster.definitions.rules.owners import owners
from metaxy_dagster.definitions.rules.parameters import parameters
from metaxy_dagster.definitions.rules.partitions import partitions
from metaxy_dagster.definitions.rules.pending_sensor import pending_sensor
from metaxy_dagster.definitions.rules.provenance import provenance
from metaxy_dagster.definitions.rules.readers import readers
from metaxy_dagster.definitions.rules.references import references
from metaxy_dagster.definitions.rules.renamed_lineage import renamed_lineage
from metaxy_dagster.definitions.rules.rerouted import rerouted
from metaxy_dagster.definitions.rules.resources import resources
from metaxy_dagster.definitions.rules.routing import routing
from metaxy_dagster.definitions.rules.sharing import sharing
from metaxy_dagster.definitions.rules.skipping import skipping
from metaxy_dagster.definitions.rules.stale_once import stale_once
from metaxy_dagster.definitions.rules.store_versions import store_versions
from metaxy_dagster.definitions.rules.tags import tags
from metaxy_dagster.definitions.rules.unpartitioned import unpartitioned
from metaxy_dagster.definitions.rules.unwrapped import unwrapped
from metaxy_dagster.definitions.rules.used_up import used_up
from metaxy_dagster.definitions.rules.vain_increment import vain_increment

__all__ = ["RULES"]

RULES: Final[tuple[Rule, ...]] = (
    # What is declared.
    bound(Step.DECLARATIONS),
    bound(Step.VERSIONS, of_assets=True),
    used_up,
    metadata_values,
    feature_order,
    bound(Step.PROJECT),
    resources,
    store_versions,
    bound(Step.PROPOSALS),
    bound(Step.RENAMES),
    # What a feature brings to its asset.
    description,
    group,
    code_version,
    owners,
    tags,
    kinds,
    metadata,
    condition,
    grouping,
    references,
    # What becomes of a unit.
    new_key,
    deps,
    routing,
    renamed_lineage,
    own_bodies,
    skipping,
    batching,
    own_checks,
    sharing,
    keeping,
    # The finished plan.
    partitions,
    internal_deps,
    unpartitioned,
    vain_increment,
    provenance,
    own_writes,
    parameters,
    mappings,
    circles,
    externals,
    kept_resource,
    # What starts runs, and what looks on.
    automations,
    checks,
    pending_sensor,
    condition_sensors,
    # What is worth knowing of it all.
    limits,
    stale_once,
    rerouted,
    readers,
    unwrapped,
    long_chain,
    lost_history,
    hardcoded,
)
