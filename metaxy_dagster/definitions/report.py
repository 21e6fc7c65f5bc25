"""A plan for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from metaxy_dagster.definitions.settings import checked_choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.plan.plans import Change, RepositoryPlan

__all__ = ["render", "summary"]

FORMS: Final = ("text", "markdown", "json")


def render(plan: RepositoryPlan, form: str) -> str:
    """A plan as text, Markdown or JSON; the same plan always gives the same text.

    Args:
        plan: the plan.
        form: ``"text"``, ``"markdown"`` or ``"json"``.

    Raises:
        DefinitionsError: another form was asked for.
    """
    checked_choice("form", form, FORMS)
    if form == "json":
        return json.dumps(as_data(plan), indent=2, sort_keys=True, default=str)
    return "\n".join(_markdown(plan) if form == "markdown" else _text(plan))


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


def _text(plan: RepositoryPlan) -> Iterator[str]:
    yield f"metaxify: {summary(plan)}"
    for asset in plan.assets:
        if asset.changes:
            tie = f" (feature {asset.feature})" if asset.feature is not None else ""
            yield f"\n~ {asset.key.to_user_string()}{tie}"
            width = max(len(change.what) for change in asset.changes)
            for change in asset.changes:
                yield f"    {change.what:<{width}}  {change.value}  [{change.why}]"
    for title, lines in _others(plan):
        yield f"\n{title}"
        yield from (f"    {line}" for line in lines)


def _markdown(plan: RepositoryPlan) -> Iterator[str]:
    yield "# metaxify plan\n"
    yield f"{summary(plan)}\n"
    changed = [asset for asset in plan.assets if asset.changes]
    if changed:
        yield "| asset | feature | change | value | why |"
        yield "|---|---|---|---|---|"
        for asset in changed:
            feature = str(asset.feature) if asset.feature is not None else ""
            for change in asset.changes:
                cells = (asset.key.to_user_string(), feature, *_change(change).values())
                yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"
    for title, lines in _others(plan):
        yield f"\n## {title}\n"
        yield from (f"- {_cell(line)}" for line in lines)


def _others(plan: RepositoryPlan) -> Iterator[tuple[str, list[str]]]:
    """Everything but the changed assets, as titled lists; empty ones are left out."""
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
        "left alone": [asset.key.to_user_string() for asset in plan.assets if not asset.changes],
        "warnings": [
            f"{notice.kind}: " + (f"{notice.asset}: " if notice.asset else "") + notice.message
            for notice in plan.notices
        ],
        "errors": [line for error in plan.errors for line in str(error).splitlines()],
    }
    yield from ((title, lines) for title, lines in sections.items() if lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
