"""``metaxy-dagster plan``: what the pass does to a repository."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaxy_dagster.cli.console import complain, say
from metaxy_dagster.cli.difference import compare, read_plan
from metaxy_dagster.cli.exits import DIFFERENT, FAULTS, FINE
from metaxy_dagster.cli.load import Target, load
from metaxy_dagster.definitions.record import Preview, previewed
from metaxy_dagster.definitions.report import as_data
from metaxy_dagster.definitions.settings import MetaxifySettings
from metaxy_dagster.errors import ConfigError, DefinitionsError

if TYPE_CHECKING:
    from typing import Literal

    from metaxy_dagster.definitions.settings import AssetKeys, IORouting

__all__ = ["PlanRequest", "show_plan"]


@dataclass(frozen=True)
class PlanRequest:
    """What is asked of the command.

    Args:
        target: where the definitions are.
        form: ``"text"``, ``"markdown"`` or ``"json"``.
        diff: an earlier plan to compare with, as JSON.
        exit_code: whether a difference makes the command exit with a code of its own.
        full: whether every line is shown, also those that say the same of many assets.
        asset_keys: this, whatever the code says.
        io_routing: likewise.
        settings: likewise, ``NAME=VALUE`` each.
    """

    target: Target
    form: Literal["text", "markdown", "json"] = "text"
    diff: Path | None = None
    exit_code: bool = False
    full: bool = False
    asset_keys: AssetKeys | None = None
    io_routing: IORouting | None = None
    settings: tuple[str, ...] = ()

    @property
    def preview(self) -> Preview:
        """What is tried instead of what the code says.

        Raises:
            ConfigError: there is no such setting, or it cannot have this value.
        """
        given = dict(_setting(each) for each in self.settings)
        if self.io_routing is not None:
            given["io_routing"] = self.io_routing
        try:
            replace(MetaxifySettings(), **given)
        except DefinitionsError as error:
            raise ConfigError(
                error.problem, found=error.found, allowed=error.allowed, remedy="correct --set"
            ) from None
        return Preview(self.asset_keys, given)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    known = [each.name for each in fields(MetaxifySettings)]
    if not equals or name not in known:
        raise ConfigError(
            "--set names no setting of the pass",
            found=repr(text),
            allowed=f"NAME=VALUE, NAME one of {', '.join(known)}",
            remedy="write for instance --set checks=all",
        )
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


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
    preview = request.preview
    with previewed(preview):
        loaded = load(request.target)
    plan = loaded.plan
    if preview:
        tried = {"asset_keys": preview.asset_keys, **preview.settings}
        said = ", ".join(f"{name}={value!r}" for name, value in tried.items() if value is not None)
        complain(f"note: a preview with {said}, whatever the code says")
    if not loaded.applied and plan.changes_anything:
        complain(
            "note: this code does not call metaxify_definitions; the plan is that of a call "
            "with default options"
        )
    difference = None
    if earlier is None:
        say(plan.render(request.form, full=request.full))
    else:
        difference = compare(earlier, as_data(plan))
        say(difference.render(request.form))
    if plan.errors:
        if earlier is not None or request.form == "json":
            # A person who reads the log of a build is not to look for them in data.
            complain("\n".join(f"error: {error}" for error in plan.errors))
        return FAULTS
    return DIFFERENT if difference and request.exit_code else FINE
