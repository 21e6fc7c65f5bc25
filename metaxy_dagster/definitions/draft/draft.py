"""The plan of a repository in the making."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions.bindings.references import (
    References,
    Regroup,
    find_references,
)
from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft
from metaxy_dagster.definitions.draft.handling import Handling, handled
from metaxy_dagster.definitions.draft.loads import Loads
from metaxy_dagster.definitions.draft.selections import Selections
from metaxy_dagster.definitions.draft.storage import Stored, stored_in
from metaxy_dagster.definitions.draft.units import opened, planned
from metaxy_dagster.definitions.plan.chains import Chains, chains
from metaxy_dagster.definitions.plan.plans import AutomationPlan, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.findings import Added
    from metaxy_dagster.definitions.plan.node_plan import NodePlan
    from metaxy_dagster.definitions.plan.plans import DefinitionPlan
    from metaxy_dagster.errors import MetaxyError

__all__ = ["Draft"]


@dataclass(eq=False)
class Draft:
    """What is planned so far.

    What follows from it is made when a rule asks for it first, and stays what it is then: a rule
    that changes what it is made from stands before.

    Args:
        bindings: what it is a plan for.
        rewrite: makes the new object of a unit.
        nodes: by the unit's index, how its op or graph is rewritten.
        node_inputs: likewise, what new inputs of that are bound to.
        added: by field of the plan, what is added.
        automations: what becomes of jobs, schedules and sensors.
        notices: warnings.
        errors: faults of the repository and of features.
        asset_errors: faults of one asset each: two assets may well be told the same.
    """

    bindings: Bindings
    rewrite: Callable[[DefinitionPlan], Any]
    nodes: dict[int, NodePlan] = field(default_factory=dict)
    node_inputs: dict[int, dict[str, dg.AssetKey]] = field(default_factory=dict)
    added: defaultdict[str, list[Added]] = field(default_factory=lambda: defaultdict(list))
    automations: AutomationPlan = field(default_factory=AutomationPlan)
    notices: list[Notice] = field(default_factory=list)
    errors: list[MetaxyError] = field(default_factory=list)
    asset_errors: list[MetaxyError] = field(default_factory=list)

    @cached_property
    def tied(self) -> Mapping[dg.AssetKey, TiedDraft]:
        """The assets with features."""
        assets, proposals = self.bindings.scan.assets, self.bindings.proposals
        return {
            key: TiedDraft(
                spec=assets[key].spec,
                feature=data.spec.key,
                asset=assets[key],
                data=data,
                proposed=proposals[key],
            )
            for key, data in self.bindings.data.items()
        }

    @cached_property
    def stored(self) -> Stored:
        """Where features are stored."""
        set_here = {each.name: each.value for each in self.added["resources"]}
        values = {**self.bindings.resources, **set_here}
        return stored_in(values, self.bindings.settings.io_manager_key)

    @cached_property
    def references(self) -> References:
        """How the keys that units name have to be read, now that the groups are known."""
        groups = {
            key: each.attributes["group_name"]
            for key, each in self.tied.items()
            if "group_name" in each.attributes
        }
        bindings = self.bindings
        change = Regroup(keys=bindings.renames, groups=groups)
        return find_references(bindings.scan, bindings.declared, bindings.relative, change)

    @cached_property
    def units(self) -> Sequence[UnitDraft]:
        """All units."""
        return tuple(opened(self.bindings, self.references, self.tied))

    @cached_property
    def active(self) -> Sequence[UnitDraft]:
        """The units that something may change in."""
        return [each for each in self.units if each.active]

    @cached_property
    def definitions(self) -> tuple[DefinitionPlan, ...]:
        """The finished plans of all units."""
        return tuple(
            planned(
                each,
                self.bindings.renames,
                self.nodes.get(each.unit.index),
                self.node_inputs.get(each.unit.index, {}),
            )
            for each in self.units
        )

    @cached_property
    def loads(self) -> Loads:
        """What is loaded for which argument."""
        return Loads(
            self.definitions,
            self.bindings.relative_now,
            self.bindings.declared.by_own_key,
            self.bindings.settings.io_manager_key,
        )

    @cached_property
    def handled(self) -> Sequence[Handling]:
        """How each asset with a feature is handled; none where features are stored elsewhere."""
        if not self.stored.ours:
            return ()
        return tuple(handled(self.bindings, self.definitions, self.loads))

    @cached_property
    def chains(self) -> Chains:
        """How the planned assets hang together."""
        return chains(self.definitions)

    @cached_property
    def selections(self) -> Selections:
        """Resolves asset selections before and after."""
        externals = [each.value for each in self.added["externals"]]
        return Selections(self.definitions, externals, self.rewrite, self.bindings.renames)
