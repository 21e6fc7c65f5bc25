"""A plan for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from metaxy_dagster.definitions.repeated import Common, common_changes, common_notices, some
from metaxy_dagster.definitions.settings import checked_choice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dagster as dg

    from metaxy_dagster.definitions.plan.plans import Change, RepositoryPlan

__all__ = ["render", "summary"]

FORMS: Final = ("text", "markdown", "json")
#: So many assets that are left alone are named.
_MOST: Final = 30


def render(plan: RepositoryPlan, form: str, *, full: bool = False) -> str:
    """A plan as text, Markdown or JSON; the same plan always gives the same text.

    Args:
        plan: the plan.
        form: ``"text"``, ``"markdown"`` or ``"json"``.
        full: whether people, too, are told asset by asset what many have in common.

    Raises:
        DefinitionsError: another form was asked for.
    """
    checked_choice("form", form, FORMS)
    if form == "json":
        return json.dumps(as_data(plan), indent=2, sort_keys=True, default=str)
    lines = _markdown if form == "markdown" else _text
    return "\n".join(lines(plan, full=full))


def as_data(plan: RepositoryPlan) -> dict[str, Any]:
    """The plan as JSON-able data: what ``--diff`` compares."""
    return {
        "assets": [
            {
                "key": asset.key.to_user_string(),
                "new_key": asset.spec.key.to_user_string(),
                "feature": str(asset.feature) if asset.feature is not None else None,
                "changes": [_change(change) for change in asset.changes],
            }
            for asset in plan.assets
            if asset.changes
        ],
        "left_alone": [asset.key.to_user_string() for asset in plan.assets if not asset.changes],
        "external_assets": [spec.key.to_user_string() for spec in plan.externals],
        "asset_checks": [{"asset": asset, **_change(change)} for asset, change in plan.check_notes],
        "resources": {name: _change(change) for name, change in plan.resource_notes},
        "automations": [
            {"name": name, **_change(change)} for name, change in plan.automations.notes
        ],
        "longest_chain": plan.longest_chain,
        "warnings": [
            {"kind": str(notice.kind), "asset": notice.asset, "message": notice.message}
            for notice in plan.notices
        ],
        "errors": [
            {
                "type": type(error).__name__,
                "asset": error.asset,
                "feature": error.feature,
                "problem": error.problem,
                "found": None if error.found is None else str(error.found),
                "allowed": None if error.allowed is None else str(error.allowed),
                "remedy": error.remedy,
            }
            for error in plan.errors
        ],
    }


def _change(change: Change) -> dict[str, str]:
    return {"what": change.what, "value": change.value, "why": change.why}


def summary(plan: RepositoryPlan) -> str:
    """The plan in one line."""
    changed = sum(bool(asset.changes) for asset in plan.assets)
    left = len(plan.assets) - changed
    parts = [f"{changed} assets change", f"{left} left alone"]
    parts.append(f"{len(plan.notices)} warnings")
    parts.append(f"{len(plan.errors)} errors")
    return ", ".join(parts) + f"; longest chain of deps: {plan.longest_chain}"


def _text(plan: RepositoryPlan, *, full: bool) -> Iterator[str]:
    yield f"metaxify: {summary(plan)}"
    common, rest = _changes(plan, full=full)
    for group in common:
        yield f"\n~ {len(group.assets)} assets ({some(group.assets)})"
        yield from _lines(group.changes)
    for asset in plan.assets:
        if rest.get(asset.key):
            tie = f" (feature {asset.feature})" if asset.feature is not None else ""
            yield f"\n~ {asset.key.to_user_string()}{tie}"
            yield from _lines(rest[asset.key])
    for title, lines in _others(plan, full=full):
        yield f"\n{title}"
        yield from (f"    {line}" for line in lines)


def _lines(changes: Sequence[Change]) -> Iterator[str]:
    width = max(len(change.what) for change in changes)
    for change in changes:
        yield f"    {change.what:<{width}}  {change.value}  [{change.why}]"


def _markdown(plan: RepositoryPlan, *, full: bool) -> Iterator[str]:
    yield "# metaxify plan\n"
    yield f"{summary(plan)}\n"
    common, rest = _changes(plan, full=full)
    rows = [
        (f"{len(group.assets)} assets: {some(group.assets)}", "", change)
        for group in common
        for change in group.changes
    ]
    rows += [
        (asset.key.to_user_string(), str(asset.feature or ""), change)
        for asset in plan.assets
        for change in rest.get(asset.key, ())
    ]
    if rows:
        yield "| asset | feature | change | value | why |"
        yield "|---|---|---|---|---|"
        for name, feature, change in rows:
            cells = (name, feature, *_change(change).values())
            yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"
    for title, lines in _others(plan, full=full):
        yield f"\n## {title}\n"
        yield from (f"- {_cell(line)}" for line in lines)


def _changes(
    plan: RepositoryPlan, *, full: bool
) -> tuple[Sequence[Common], Mapping[dg.AssetKey, Sequence[Change]]]:
    if full:
        return (), {asset.key: asset.changes for asset in plan.assets if asset.changes}
    return common_changes(plan.assets)


def _others(plan: RepositoryPlan, *, full: bool) -> Iterator[tuple[str, list[str]]]:
    """Everything but the changed assets, as titled lists; empty ones are left out."""
    left = [asset.key.to_user_string() for asset in plan.assets if not asset.changes]
    if not full and len(left) > _MOST:
        left = [*left[:_MOST], f"… and {len(left) - _MOST} more"]
    sections = {
        "external assets added": [spec.key.to_user_string() for spec in plan.externals],
        "asset checks added": [
            f"{asset}: {change.value} ({change.why})" for asset, change in plan.check_notes
        ],
        "resources": [
            f"{name}: {change.value} ({change.why})" for name, change in plan.resource_notes
        ],
        "jobs, schedules and sensors": [
            f"{name}: {change.what} {change.value} ({change.why})"
            for name, change in plan.automations.notes
        ],
        "left alone": left,
        "warnings": list(_warnings(plan, full=full)),
        "errors": [line for error in plan.errors for line in str(error).splitlines()],
    }
    yield from ((title, lines) for title, lines in sections.items() if lines)


def _warnings(plan: RepositoryPlan, *, full: bool) -> Iterator[str]:
    names = {asset.key.to_user_string() for asset in plan.assets}
    names.update(str(asset.feature) for asset in plan.assets if asset.feature is not None)
    told = [(each, ()) for each in plan.notices] if full else common_notices(plan.notices, names)
    for notice, others in told:
        about = f"{notice.asset}: " if notice.asset else ""
        more = f" (so for {len(others)} more: {some(others)})" if others else ""
        yield f"{notice.kind}: {about}{notice.message}{more}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
