"""Makes the plan: reads a repository, binds it to its features, and asks every rule in turn."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.apply.rewrite import Rewriter
from metaxy_dagster.definitions.bindings.bind import bind
from metaxy_dagster.definitions.draft.draft import Draft
from metaxy_dagster.definitions.draft.findings import Added, Fill, Over
from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan
from metaxy_dagster.definitions.plan.plans import Notice
from metaxy_dagster.definitions.repository.collect import collect
from metaxy_dagster.definitions.repository.collector import collector_held
from metaxy_dagster.definitions.rules.order import RULES
from metaxy_dagster.errors import MetaxyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import dagster as dg

    from metaxy_dagster.definitions.bindings.request import Request
    from metaxy_dagster.definitions.draft.rule import Rule
    from metaxy_dagster.definitions.plan.plans import AutomationPlan

__all__ = ["make_plan"]


@collector_held()
@_compat.quiet()
def make_plan(defs: dg.Definitions, request: Request) -> MetaxifyPlan:
    """Plan the pass over a repository.

    Args:
        defs: the user's Definitions; not changed.
        request: what the user asked for.

    Returns:
        The plan, with every fault that was found in ``errors``.
    """
    bindings = bind(collect(defs), request)
    rewriter = Rewriter()
    draft = Draft(bindings, rewriter.rewrite)
    _ask(draft)
    return _finished(defs, draft, rewriter)


def _ask(draft: Draft) -> None:
    """Ask one rule after the other, each of all that it is a rule of."""
    for (over, sound), rules in groupby(RULES, attrgetter("over", "sound")):
        if sound and (draft.errors or draft.asset_errors):
            continue
        subjects: Collection[Any] = (draft,)
        if over is not Over.REPOSITORY:
            subjects = draft.active if over is Over.UNIT else draft.tied.values()
        for each, of_assets in _said(rules, draft, subjects):
            if isinstance(each, Notice):
                draft.notices.append(each)
            else:
                (draft.asset_errors if of_assets else draft.errors).append(each)


def _said(
    rules: Iterable[Rule], draft: Draft, subjects: Collection[Any]
) -> list[tuple[Notice | MetaxyError, bool]]:
    """What rules of one kind say, sorted by what it is about; what they change is changed.

    One unit is done with before the next one is spoken of, whichever rule speaks.
    """
    said: list[tuple[int, tuple[Notice | MetaxyError, bool]]] = []
    bindings = draft.bindings
    for rule in rules:
        if rule.whole and not bindings.request.with_resources:
            continue
        for place, subject in enumerate(subjects):
            for found in rule.find(bindings, subject):
                if isinstance(found, Notice | MetaxyError):
                    said.append((place, (found, rule.of_assets)))
                else:
                    _change(draft, found)
    said.sort(key=itemgetter(0))
    return [each for _, each in said]


def _change(draft: Draft, found: Fill | Added | AutomationPlan) -> None:
    if isinstance(found, Fill):
        asset = found.asset
        if found.attribute is not None:
            asset.attributes[found.attribute] = found.value
        at = 0 if found.first else len(asset.changes)
        asset.changes[at:at] = found.changes
    elif isinstance(found, Added):
        draft.added[found.to].append(found)
    else:
        draft.automations = found


def _finished(defs: dg.Definitions, draft: Draft, rewriter: Rewriter) -> MetaxifyPlan:
    added = draft.added
    sensor_notes = [(f"sensor {each.name}", each.change) for each in added["sensors"]]
    return MetaxifyPlan(
        defs=defs,
        scan=draft.bindings.scan,
        graph=draft.bindings.graph,
        definitions=draft.definitions,
        externals=tuple(each.value for each in added["externals"]),
        resources={each.name: each.value for each in added["resources"]},
        resource_notes=tuple((each.name, each.change) for each in added["resources"]),
        automations=replace(draft.automations, notes=(*draft.automations.notes, *sensor_notes)),
        checks=tuple(each.value for each in added["checks"]),
        check_notes=tuple((each.name, each.change) for each in added["checks"]),
        sensors=tuple(each.value for each in added["sensors"]),
        rewriter=rewriter,
        longest_chain=draft.chains.longest,
        notices=tuple(draft.notices),
        errors=(*_distinct(draft.errors), *draft.asset_errors),
    )


def _distinct(errors: Sequence[MetaxyError]) -> Iterable[MetaxyError]:
    """Each fault once: a feature's fault shows up again at everything downstream of it."""
    found: dict[tuple[Any, ...], MetaxyError] = {}
    for error in errors:
        found.setdefault(
            (type(error), error.problem, error.feature, str(error.found), error.remedy), error
        )
    return found.values()
