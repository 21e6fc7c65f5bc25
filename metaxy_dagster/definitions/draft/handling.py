"""What is loaded for the function of an asset with a feature, and what takes its result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions.draft.functions import gives_nothing, sole_op
from metaxy_dagster.definitions.draft.loads import handler_of
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.keys import parse
from metaxy_dagster.runtime.io.own_bodies import is_own_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.loads import Load, Loads
    from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan
    from metaxy_dagster.definitions.repository.collect import Asset
    from metaxy_dagster.definitions.repository.own_managers import OwnManager
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["Handling", "handled"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Handling:
    """An asset with a feature, once the plan of its unit is finished.

    Args:
        plan: the plan of its unit.
        planned: its own plan.
        asset: the asset.
        handler: the IO manager that takes what its function returns; None where nothing does.
        ours: whether that is the one of features, or has it around it.
        kept: the repository's own that has it around it, if that is so.
        upstreams: the features that its own is computed from.
        loaded: the features that are loaded for an argument, with what is pending of them.
        above: those of the same multi-asset that it is computed from.
    """

    plan: DefinitionPlan
    planned: AssetPlan
    asset: Asset
    handler: str | None
    ours: bool
    kept: OwnManager | None
    upstreams: AbstractSet[FeatureKey]
    loaded: Mapping[FeatureKey, Load]
    above: Sequence[AssetPlan]

    @property
    def called(self) -> str:
        """The asset's key, in words."""
        return self.planned.key.to_user_string()

    @property
    def sees_upstreams(self) -> bool:
        """Whether one of its arguments is a feature that its own is computed from."""
        return bool(self.upstreams & self.loaded.keys())

    @cached_property
    def has_own_body(self) -> bool:
        """Whether what is pending is looked up before its function is called."""
        node, definition = self.plan.node, self.plan.unit.definition
        if node is not None and node.own_body is not None:
            return True
        op = None if definition is None else sole_op(definition.node_def)
        return op is not None and is_own_body(op)

    @property
    def writes_itself(self) -> bool:
        """Whether what its function makes itself is recorded."""
        planned = parse(self.planned.spec.metadata, self.called).keys
        return self.has_own_body and planned.writes_itself

    @property
    def settled(self) -> bool:
        """Whether another rule says why it cannot be what it is, or why not in batches."""
        keys = self.asset.keys
        return bool(self.above) or keys.samples_per_batch is not None or keys.isolates

    @cached_property
    def gives_nothing(self) -> bool:
        """Whether its function returns no value."""
        return gives_nothing(self.plan.unit)

    @property
    def taken(self) -> str:
        """The arguments of its function, in words."""
        taken = list(self.plan.unit.arguments)
        loaded = {load.name for load in self.loaded.values()}
        other = [name for name in taken if name not in loaded]
        if not taken:
            return "no argument for an asset"
        return "arguments: " + ", ".join(
            name + (" (loaded by another IO manager, or no feature)" if name in other else "")
            for name in taken
        )

    def fault(self, problem: str, **words: Any) -> DefinitionsError:
        """A fault of the asset."""
        feature = str(self.planned.feature)
        return DefinitionsError(problem, asset=self.called, feature=feature, **words)


def handled(
    bindings: Bindings, definitions: Iterable[DefinitionPlan], loads: Loads
) -> Iterator[Handling]:
    """How each asset with a feature is handled.

    Args:
        bindings: the repository and its features.
        definitions: the finished plans of all units.
        loads: what is loaded for which argument.

    Yields:
        One per asset, unit by unit.
    """
    for plan in definitions:
        tied = [each for each in plan.assets if each.feature is not None]
        if not tied:
            continue
        handlers = {each.key: handler_of(plan, each.key) for each in tied}
        ours = {k for k, handler in handlers.items() if bindings.knows_features(handler, plan.unit)}
        stored = {each.feature: each for each in tied if each.key in ours}
        loaded = {
            load.feature: load
            for load in loads.of(plan)
            if load.feature is not None and load.knows_features(bindings)
        }
        for each in tied:
            upstreams = bindings.upstreams[each.key]
            is_ours = each.key in ours
            above = [stored[up] for up in sorted(upstreams & stored.keys()) if is_ours]
            yield Handling(
                plan=plan,
                planned=each,
                asset=bindings.scan.assets[each.key],
                handler=handlers[each.key],
                ours=is_ours,
                kept=bindings.kept(handlers[each.key], plan.unit),
                upstreams=upstreams,
                loaded=loaded,
                above=() if above and gives_nothing(plan.unit) else above,
            )
