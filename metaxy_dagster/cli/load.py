"""Loads a user's definitions, and the plans of the passes that made them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.definitions._compat import LazyDefinitions
from metaxy_dagster.definitions.record import recorded_plans
from metaxy_dagster.definitions.transform import plan_definitions
from metaxy_dagster.errors import ConfigError, MetaxyError

if TYPE_CHECKING:
    from types import ModuleType

    from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan

__all__ = ["Loaded", "Target", "definitions_in", "importable_from", "load"]


@dataclass(frozen=True)
class Target:
    """Where the definitions are.

    Args:
        module: a module's name; or
        file: a Python file.
        attribute: the name in it; by default the only Definitions there.
    """

    module: str | None = None
    file: Path | None = None
    attribute: str | None = None

    @property
    def label(self) -> str:
        """How messages name it."""
        where = self.module if self.module is not None else str(self.file)
        return f"{where}:{self.attribute}" if self.attribute else str(where)


@dataclass(frozen=True, eq=False)
class Loaded:
    """What was found.

    Args:
        defs: the definitions; None where a pass refused them for their faults.
        plans: the plans of the passes that ran, or of the pass that would.
        applied: whether the passes ran; if not, the code calls none.
    """

    defs: dg.Definitions | None
    plans: tuple[MetaxifyPlan, ...]
    applied: bool

    @property
    def plan(self) -> MetaxifyPlan:
        """All plans as one, to be shown; not to be applied."""
        first, *more = self.plans
        if not more:
            return first
        renamed = {asset.spec.key for plan in self.plans for asset in plan.assets if asset.changes}
        shown = [
            (
                each
                if any(asset.changes for asset in each.assets)
                # What one pass changed, the next one leaves alone: it is listed once.
                else replace(each, assets=tuple(a for a in each.assets if a.key not in renamed))
            )
            for plan in self.plans
            for each in plan.definitions
        ]
        return replace(
            first,
            definitions=tuple(shown),
            externals=tuple(spec for plan in self.plans for spec in plan.externals),
            check_notes=tuple(note for plan in self.plans for note in plan.check_notes),
            resource_notes=tuple(note for plan in self.plans for note in plan.resource_notes),
            automations=replace(
                first.automations,
                notes=tuple(note for plan in self.plans for note in plan.automations.notes),
            ),
            longest_chain=max(plan.longest_chain for plan in self.plans),
            notices=tuple(notice for plan in self.plans for notice in plan.notices),
            errors=tuple(error for plan in self.plans for error in plan.errors),
        )


@contextlib.contextmanager
def importable_from(directory: Path) -> Iterator[None]:
    """Let modules of a directory be imported, as Dagster's own commands do.

    Args:
        directory: comes first on the search path inside the block.

    Raises:
        ConfigError: there is no such directory.
    """
    if not directory.is_dir():
        raise ConfigError(
            "the working directory does not exist",
            found=str(directory),
            remedy="name a directory with --working-directory",
        )
    entry = str(directory.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)


def load(target: Target) -> Loaded:
    """Load definitions and find out what the pass does to them.

    Code that calls the pass itself is taken at its word: its own plans are shown, with its own
    options. For code that does not, it is the plan of a pass with default options.

    Args:
        target: where they are.

    Raises:
        ConfigError: the code cannot be imported, or holds no definitions.
        MetaxyError: the code used this library in a wrong way.
    """
    with recorded_plans() as plans:
        try:
            defs = _definitions(target)
        except MetaxyError:
            if not any(plan.errors for plan in plans):
                raise
            defs = None
    told = tuple(plan for plan in plans if plan.errors or _says_something(plan))
    if told or defs is None:
        return Loaded(defs, told, applied=True)
    return Loaded(defs, (plan_definitions(defs),), applied=False)


def definitions_in(target: Target) -> tuple[Path, str]:
    """The file of a target that was loaded, and what the Definitions are called in it.

    Args:
        target: as it was loaded.
    """
    name = target.module if target.module is not None else Path(str(target.file)).stem
    module = sys.modules[name]
    attribute = target.attribute or next(iter(_candidates(module)), "defs")
    return Path(str(module.__file__)).resolve(), attribute


def _says_something(plan: MetaxifyPlan) -> bool:
    return plan.changes_anything or any(asset.feature is not None for asset in plan.assets)


def _definitions(target: Target) -> dg.Definitions:
    module = _called(lambda: _module(target), target)
    if target.attribute is not None:
        found = _attribute(module, target)
    else:
        found = _only_definitions(module, target)
    if not isinstance(found, dg.Definitions) and callable(found):
        found = _called(found, target)
    if isinstance(found, dg.Definitions):
        return found
    remedy = "name the variable that holds the Definitions with --attribute"
    if isinstance(found, dg.RepositoryDefinition):
        remedy = "name the Definitions that the repository is made from"
    raise ConfigError(
        f"{target.label} is no Definitions",
        found=type(found).__name__,
        allowed="dagster.Definitions, or a function without parameters that returns them",
        remedy=remedy,
    )


def _module(target: Target) -> ModuleType:
    if target.module is not None:
        return importlib.import_module(target.module)
    path = target.file or Path()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(
            "this is no Python file",
            found=str(path),
            allowed="the path of a .py file",
            remedy="correct --python-file",
        )
    module = importlib.util.module_from_spec(spec)
    # As an import would: pickling and dataclasses look their module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _called(function: Any, target: Target) -> Any:
    """Run the user's code; whatever it raises is told with the place it was loaded from."""
    try:
        return function()
    except MetaxyError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{target.label} cannot be loaded",
            found=f"{type(error).__name__}: {error}",
            remedy="correct the code, or name the module, file, attribute or working directory "
            "that is meant",
        ) from error


def _attribute(module: ModuleType, target: Target) -> Any:
    missing = object()
    found: Any = module
    for part in (target.attribute or "").split("."):
        found = getattr(found, part, missing)
    if found is missing:
        raise ConfigError(
            f"{module.__name__} has no attribute {target.attribute!r}",
            found=", ".join(_candidates(module)) or "no Definitions at all",
            remedy="correct --attribute",
        )
    return found


def _candidates(module: ModuleType) -> dict[str, Any]:
    kinds = (dg.Definitions, LazyDefinitions)
    return {name: value for name, value in vars(module).items() if isinstance(value, kinds)}


def _only_definitions(module: ModuleType, target: Target) -> Any:
    candidates = _candidates(module)
    distinct = {id(value): value for value in candidates.values()}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if not distinct:
        assets = dg.load_assets_from_modules([module])
        if assets:
            # What Dagster itself makes of a module with nothing but assets in it.
            return dg.Definitions(assets=assets)
    raise ConfigError(
        f"{target.label} holds {'several' if distinct else 'no'} Definitions",
        found=", ".join(candidates) or "none",
        allowed="one Definitions, or one function decorated with @dagster.definitions",
        remedy="say which one with --attribute",
    )
