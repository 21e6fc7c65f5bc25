"""``metaxy-dagster plan``: what the pass does to a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaxy_dagster.cli.console import complain, say
from metaxy_dagster.cli.difference import compare, read_plan
from metaxy_dagster.cli.exits import DIFFERENT, FAULTS, FINE
from metaxy_dagster.cli.load import Target, load
from metaxy_dagster.definitions.report import as_data

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["PlanRequest", "show_plan"]


@dataclass(frozen=True)
class PlanRequest:
    """What is asked of the command.

    Args:
        target: where the definitions are.
        form: ``"text"``, ``"markdown"`` or ``"json"``.
        diff: an earlier plan to compare with, as JSON.
        exit_code: whether a difference makes the command exit with a code of its own.
    """

    target: Target
    form: Literal["text", "markdown", "json"] = "text"
    diff: Path | None = None
    exit_code: bool = False


def show_plan(request: PlanRequest) -> int:
    """Print the plan, or how it differs from an earlier one.

    Args:
        request: what was asked.

    Returns:
        An exit code.

    Raises:
        ConfigError: the code, or the earlier plan, cannot be loaded.
    """
    earlier = None if request.diff is None else read_plan(request.diff)
    loaded = load(request.target)
    plan = loaded.plan
    if not loaded.applied and plan.changes_anything:
        complain(
            "note: this code does not call metaxify_definitions; the plan is that of a call "
            "with default options"
        )
    difference = None
    if earlier is None:
        say(plan.render(request.form))
    else:
        difference = compare(earlier, as_data(plan))
        say(difference.render(request.form))
    if plan.errors:
        if earlier is not None or request.form == "json":
            # A person who reads the log of a build is not to look for them in data.
            complain("\n".join(f"error: {error}" for error in plan.errors))
        return FAULTS
    return DIFFERENT if difference and request.exit_code else FINE
