"""Functions that load what they need, or make their data, themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import (
    INPUT_INCREMENT,
    KEY_INPUT,
    KEY_OUTPUT,
    OUTPUT_SELF,
    RESOURCE_STORE,
)
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.drafts import BODY, OUTPUT
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.functions import (
    ASKING,
    gives_nothing,
    needed_resources,
    returns_rows,
    sole_op,
    words_of,
)
from metaxy_dagster.definitions.draft.pending import feature_inputs
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import manager_of, output_of, stored_by
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.io.own_bodies import OwnBody, is_own_body, why_not_own_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft
    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["cannot_be_recorded", "own_bodies"]

#: Words in the code of a function that writes its feature to the store itself.
_WRITING = frozenset({"write", "generate_materialize_results"})


@partial(RepositoryRule, of_assets=True)
def own_bodies(bindings: Bindings, draft: Draft) -> Iterator[Fill | Notice | DefinitionsError]:
    """Resolve what is pending before a function is called that no argument tells of it.

    What such a function returns is written with that. What it makes itself is recorded when it
    has ended; it is left out while nothing is pending, if it takes increments.
    """
    if not bindings.can_wrap:
        return
    managers = _managers(draft)
    for each in draft.units:
        if each.unit.increments and not any(bindings.upstreams[a.spec.key] for a in each.tied):
            yield _no_increment(each)
    for each in draft.active:
        if each.tied and each.unit.materializable:
            yield from _Look(bindings, each, managers).found()


def _managers(draft: Draft) -> Mapping[dg.AssetKey, tuple[str, Unit]]:
    """The IO managers that load the assets with features, and the units of these."""
    found: dict[dg.AssetKey, tuple[str, Unit]] = {}
    for each in draft.units:
        for asset in each.tied:
            name, _ = output_of(each.unit, asset.spec.key)
            own = manager_of(each.unit, asset.spec)
            named = asset.metadata.get(_compat.IO_MANAGER_METADATA_KEY)
            if named is not None and not each.unit.materializable:
                own = str(getattr(named, "value", named))
            manager = each.routed.get(name or "", own)
            found[draft.bindings.now(asset.spec.key)] = manager, each.unit
    return found


@dataclass(frozen=True, eq=False)
class _Look:
    """A look at one unit, whose outputs are routed by now."""

    bindings: Bindings
    draft: UnitDraft
    managers: Mapping[dg.AssetKey, tuple[str, Unit]]

    def found(self) -> Iterator[Fill | Notice | DefinitionsError]:
        for each in self.draft.tied:
            if each.asset.keys.writes_itself and each not in self._derived:
                yield _root(each)
        if not self._derived or (self._op is not None and is_own_body(self._op)):
            return
        made = [each for each in self._derived if self._makes_itself(each)]
        returns, parameter = self._returns(), next(iter(self.draft.unit.increments), None)
        if not (made or returns or parameter or self._asks_the_store()):
            return
        yield from map(_expansion, filter(self._is_expansion, made))
        why_not = self._obstacle()
        if why_not is None:
            yield from self._planned(made, parameter, returns=returns)
        elif parameter is not None:
            yield cannot_be_recorded(self._derived[0], why_not)
        else:
            # Of the others it is said that none of their arguments is an upstream.
            told = [one for one in made if one.asset.keys.writes_itself or self._is_told(one)]
            yield from (cannot_be_recorded(each, why_not) for each in told)

    def _planned(
        self, made: Sequence[TiedDraft], parameter: str | None, *, returns: bool
    ) -> Iterator[Fill | Notice]:
        why_called = self._why_called()
        self.draft.own_body = OwnBody(
            self.bindings.settings.io_manager_key,
            takes=parameter is not None or ("pending" in self._words and not self._owns),
            returns=returns,
            parameter=parameter,
            skips=not returns and why_called is None,
        )
        self.draft.seen_making = [each for each in made if not each.asset.keys.writes_itself]
        yield from map(_recorded, self.draft.seen_making)
        if returns:
            change = Change(BODY, "what is pending is looked up first", "it loads by itself")
            yield from (Fill(each, None, None, (change,)) for each in self._derived)
        elif why_called is None:
            value = "left out while nothing is pending"
            change = Change(BODY, value, f"{KEY_INPUT} is {INPUT_INCREMENT}")
            yield from (Fill(each, None, None, (change,)) for each in self._derived)
        elif any(each.asset.keys.takes_increment for each in self._derived):
            message = f"its body also runs while nothing is pending: {why_called}"
            yield Notice(NoticeKind.BODY, message, self.draft.unit.label)

    @cached_property
    def _derived(self) -> Sequence[TiedDraft]:
        """Those of its assets whose features are computed from others."""
        return [each for each in self.draft.tied if self.bindings.upstreams[each.spec.key]]

    @cached_property
    def _op(self) -> dg.OpDefinition | None:
        definition = self.draft.unit.definition
        return None if definition is None else sole_op(definition.node_def)

    @cached_property
    def _words(self) -> frozenset[str]:
        return words_of(self.draft.unit)

    @cached_property
    def _owns(self) -> bool:
        """Whether its function goes to the store itself."""
        unit, words = self.draft.unit, self._words
        needs = RESOURCE_STORE in needed_resources(unit)
        return bool(words & ASKING) or (needs and bool(words & _WRITING))

    def _makes_itself(self, each: TiedDraft) -> bool:
        keys = each.asset.keys
        if keys.gives("output"):
            return keys.writes_itself
        return keys.takes_increment and not self._returns_rows(each) and not self._owns

    def _returns_rows(self, each: TiedDraft) -> bool:
        return each.spec.key in self._returning

    @cached_property
    def _returning(self) -> frozenset[dg.AssetKey]:
        """The assets for which a value is returned."""
        unit = self.draft.unit
        keys = (each.spec.key for each in self._derived)
        return frozenset(key for key in keys if returns_rows(unit, output_of(unit, key)[1]))

    def _returns(self) -> bool:
        """Whether rows are returned of which no argument tells what they are computed from."""
        unit, routed, knows = self.draft.unit, self.draft.routed, self.bindings.knows_features
        rows = [
            each
            for each in self._derived
            if knows(stored_by(unit, each.spec.key, routed), unit)
            and not each.asset.keys.writes_itself
            and self._returns_rows(each)
        ]
        return bool(rows) and not self._owns and not any(map(self._is_told, rows))

    def _is_told(self, each: TiedDraft) -> bool:
        """Whether an argument is loaded that is an upstream, by what knows what is pending."""
        upstreams, unit = self.bindings.upstreams[each.spec.key], self.draft.unit
        if unit.definition is None:
            return False
        for name, feature in feature_inputs(self.bindings, self.draft, upstreams).items():
            bound = self.draft.inputs[name]
            key = self.draft.deps.relative.get(bound, bound)
            manager, maker = self.managers.get(key, (self.bindings.settings.io_manager_key, unit))
            managers = {
                taken.input_manager_key or manager
                for _, taken in _compat.destinations(unit.definition.node_def, name)
            }
            known = (self.bindings.knows_features(each, unit, maker) for each in managers)
            if feature in upstreams and all(known):
                return True
        return False

    def _asks_the_store(self) -> bool:
        """Whether it goes to the store itself, and what is pending decides whether it is called."""
        silent = not any(map(self._returns_rows, self._derived))
        taking = any(each.asset.keys.takes_increment for each in self._derived)
        return self._owns and silent and taking

    def _is_expansion(self, each: TiedDraft) -> bool:
        plan = self.bindings.graph.plan(each.feature)  # type: ignore[arg-type] # tied assets have one
        return any(dep.lineage_type == "expansion" for dep in plan.deps)

    def _obstacle(self) -> str | None:
        """Why nothing can be looked up before the function is called."""
        op, unit = self._op, self.draft.unit
        if op is None:
            return "it is a graph of several ops"
        why_not = why_not_own_body(op)
        if why_not is not None:
            return why_not
        asking = [each for each in self.draft.tied if each.asset.keys.takes_increment]
        if unit.increments:
            if unit.definition is not None and unit.definition.node_def is not op:
                return "in a graph, a parameter cannot be an Increment: call mxd.pending(context)"
            if len(self.draft.tied) > 1 or not asking:
                return (
                    "a parameter that is an Increment is for one feature that takes increments: "
                    'call mxd.pending(context, "<feature>")'
                )
        return None

    def _why_called(self) -> str | None:
        """Why its body is called also while nothing is pending."""
        unit = self.draft.unit
        if not self.bindings.settings.enable_skipping:
            return "the setting enable_skipping is off"
        if unit.definition is not None and unit.definition.node_check_specs_by_output_name:
            return "it reports results of asset checks, too"
        taking = {each.spec.key for each in self._derived if each.asset.keys.takes_increment}
        other = [spec.key.to_user_string() for spec in unit.specs if spec.key not in taking]
        if other and unit.moves_as_one:
            return f"it also computes {', '.join(other)}, which takes no increment"
        for spec in unit.specs:
            _, output = output_of(unit, spec.key)
            if output is None or _compat.is_nothing(output) or gives_nothing(unit):
                continue
            if not output.dagster_type.is_any or returns_rows(unit, output):
                return f"the IO manager {output.io_manager_key!r} takes what it returns"
        return None


def _recorded(each: TiedDraft) -> Fill:
    located = {**each.metadata, KEY_OUTPUT: OUTPUT_SELF}
    change = Change(OUTPUT, f"{KEY_OUTPUT}: {OUTPUT_SELF}", "its function returns nothing")
    return Fill(each, "metadata", located, (change,))


def _root(each: TiedDraft) -> DefinitionsError:
    return DefinitionsError(
        f'metadata "{KEY_OUTPUT}": "{OUTPUT_SELF}" does nothing: its feature is computed from no '
        "other, so nothing says which samples it makes",
        asset=each.asset.name,
        feature=str(each.feature),
        found="no upstream feature",
        allowed="a feature that is computed from others",
        remedy="have its function return a frame of what it made (ids, and what changes with it: "
        f'a checksum, a time, a size), and remove "{KEY_OUTPUT}"; or give an upstream asset a '
        'feature ("metaxy/feature", "metaxy/id_columns")',
    )


def _no_increment(draft: UnitDraft) -> DefinitionsError:
    return DefinitionsError(
        "a parameter is an Increment, but its asset is no feature that is computed from others",
        asset=draft.unit.label,
        found=f"{next(iter(draft.unit.increments))}: mxd.Increment",
        allowed="a parameter of an asset with a feature that has upstream features",
        remedy='set metadata "metaxy/feature", "metaxy/id_columns" and "metaxy/input": '
        '"increment" on it, and a feature on an asset that it depends on',
    )


def _expansion(each: TiedDraft) -> DefinitionsError:
    return DefinitionsError(
        "its function makes its data itself, and its feature has several samples per upstream "
        "sample: nothing says which ones were made",
        asset=each.asset.name,
        feature=str(each.feature),
        found='"lineage": "expansion"',
        allowed="one sample per upstream sample, or per group of them",
        remedy='name the upstream\'s ids in "metaxy/id_columns" and leave the lineage out (one '
        "sample then stands for all that is made from it); or return a frame of the samples, or "
        "write them by store.write(..., increment=mxd.pending(context))",
    )


def cannot_be_recorded(each: TiedDraft, why: str) -> DefinitionsError:
    """The fault of an asset whose function cannot be called with what is pending.

    Args:
        each: the asset.
        why: what stands in the way.
    """
    return DefinitionsError(
        "what its function makes itself cannot be recorded, nor what is pending looked up for it",
        asset=each.asset.name,
        feature=str(each.feature),
        found=why,
        allowed="an asset of one op with a function of its own",
        remedy="take the upstream assets as arguments and return a frame; or make it an asset of "
        f'one op; or remove "{KEY_INPUT}" and "{KEY_OUTPUT}"',
    )
