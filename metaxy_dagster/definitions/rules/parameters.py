"""Arguments that are loaded from the store from now on: whether their types can be made."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.runtime.loading.conversion import can_convert
from metaxy_dagster.runtime.loading.parameters import (
    UNANNOTATED,
    annotation_of,
    bad_columns,
    why_not_loaded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.loads import Load
    from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan
    from metaxy_dagster.errors import MetaxyError

__all__ = ["parameters"]

#: What is written in code for the types of ``UNANNOTATED``, and how a module is recognised.
_WRITTEN: Final = {
    "narwhals": "nw.LazyFrame",
    "polars": "pl.DataFrame",
    "polars_lazy": "pl.LazyFrame",
    "pandas": "pd.DataFrame",
    "pyarrow": "pa.Table",
    "duckdb": "duckdb.DuckDBPyRelation",
}
_LIBRARIES: Final = ("pandas", "polars", "pyarrow", "duckdb")


@partial(RepositoryRule, of_assets=True)
def parameters(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """What the IO manager of this library cannot hand to a function, or only a guess.

    A fault per argument whose type no feature can be loaded as; one warning per asset with
    arguments that are not annotated and come from the store from now on.
    """
    if not draft.stored.ours:
        return
    definitions, loads, settings = draft.definitions, draft.loads, bindings.settings
    makers = {
        asset.spec.key: plan
        for plan in definitions
        for asset in plan.assets
        if plan.unit.definition
    }
    for plan in definitions:
        silent: list[tuple[Load, str]] = []
        for load in loads.of(plan):
            if load.manager != settings.io_manager_key or load.feature is None:
                continue
            for op, each in load.parameters:
                yield from _faults(plan, load, op, each)
                annotation = annotation_of(op, each.name, each.dagster_type)
                if annotation is None and _rerouted(load):
                    where = (
                        each.name if op.name == _plan_name(plan) else f"{each.name} of {op.name}"
                    )
                    silent.append((load, where))
        if silent and settings.unannotated is None:
            yield _unannotated(plan, silent, makers, bindings.resources)


def _plan_name(plan: DefinitionPlan) -> str:
    """The name of the op or graph of a unit."""
    return "" if plan.unit.definition is None else str(plan.unit.definition.node_def.name)


def _faults(
    plan: DefinitionPlan, load: Load, op: dg.OpDefinition, each: dg.InputDefinition
) -> Iterator[MetaxyError]:
    where: dict[str, Any] = {"asset": plan.unit.label, "feature": str(load.feature)}
    annotation = annotation_of(op, each.name, each.dagster_type)
    partitioned = load.source is not None and load.source.spec.partitions_def is not None
    why = why_not_loaded(annotation, partitioned=partitioned)
    if why is not None:
        yield DefinitionsError(
            f"parameter {each.name!r} is annotated with a type that a feature cannot be loaded as",
            **where,
            found=f"{annotation}: {why}",
            allowed=", ".join(UNANNOTATED.values())
            + ", narwhals.DataFrame"
            + ("; a dict or a list of these, by partition" if partitioned else ""),
            remedy="annotate the parameter with one of these, or give its AssetIn an "
            "input_manager_key of your own",
        )
    wrong = bad_columns(each.metadata or {})
    if wrong is not None:
        yield DefinitionsError(
            f'metadata "columns" of parameter {each.name!r} is no list of columns',
            **where,
            found=repr(wrong),
            allowed="a list of the columns to load",
            remedy='write AssetIn(metadata={"columns": ["id", "size"]}), or leave it out',
        )


def _rerouted(load: Load) -> bool:
    """Whether another IO manager loaded it before this pass."""
    source = load.source
    return source is not None and any(each.what == "io_manager_key" for each in source.changes)


def _unannotated(
    plan: DefinitionPlan,
    silent: Sequence[tuple[Load, str]],
    makers: Mapping[dg.AssetKey, DefinitionPlan],
    resources: Mapping[str, Any],
) -> Notice:
    names = ", ".join(where for _, where in silent)
    load, where = silent[0]
    kind, why = _proposed(plan, load, makers, resources)
    some = "parameters are" if len(silent) > 1 else "parameter is"
    partitions = (
        "; of several partitions it gets one frame, not a dict"
        if load.source is not None and load.source.spec.partitions_def is not None
        else ""
    )
    message = (
        f"its {some} not annotated: {names}. What the store loads is a narwhals LazyFrame then, "
        f"whatever was loaded so far: annotate it, for instance "
        f"{where.partition(' of ')[0]}: {_WRITTEN[kind]}{why}, or set unannotated={kind!r} for "
        f"all{partitions}"
    )
    return Notice(NoticeKind.PARAMETER, message, plan.unit.label)


def _proposed(
    plan: DefinitionPlan,
    load: Load,
    makers: Mapping[dg.AssetKey, DefinitionPlan],
    resources: Mapping[str, Any],
) -> tuple[str, str]:
    """A type for an argument, and how it was found out."""
    maker = None if load.source is None else makers.get(load.source.spec.key)
    returned = _kind_of(_returned(plan, plan.assets[0]) if plan.assets else None)
    if returned is not None:
        return returned, " (as its own return annotation says)"
    if maker is not None and load.source is not None:
        made = _kind_of(_returned(maker, load.source))
        if made is not None:
            return made, f" (as {load.source.key.to_user_string()} is annotated to return)"
    manager = resources.get(_compat.DEFAULT_IO_MANAGER_KEY)
    told = f"{type(manager).__module__}.{type(manager).__name__}".lower()
    named = next((each for each in _LIBRARIES if each in told), None)
    if named is not None:
        return named, f" (as the repository's {type(manager).__name__} loads)"
    for unit, whose in ((maker, "the code that makes it"), (plan, "its code")):
        used = _used(unit)
        if used is not None:
            return used, f" ({whose} uses {used})"
    return "pandas", ""


def _returned(plan: DefinitionPlan, asset: AssetPlan) -> object | None:
    definition = plan.unit.definition
    if definition is None or not plan.unit.materializable:
        return None
    for name, key in definition.node_keys_by_output_name.items():
        if key == asset.key:
            kind: object = _compat.origin_of(definition.node_def, name).dagster_type.typing_type
            return kind
    return None


def _kind_of(annotation: object) -> str | None:
    """The name in ``UNANNOTATED`` of a type of frames."""
    if annotation is None or not isinstance(annotation, type) or not can_convert(annotation):
        return None
    library = annotation.__module__.partition(".")[0].lstrip("_")
    if library == "polars" and annotation.__name__ == "LazyFrame":
        return "polars_lazy"
    return library if library in UNANNOTATED else None


def _used(plan: DefinitionPlan | None) -> str | None:
    """A library of frames that the functions of a unit use by a name of their module."""
    if plan is None or plan.unit.definition is None or not plan.unit.executable:
        return None
    for function in _compat.functions_of(plan.unit.definition.node_def):
        found = function.__globals__
        modules = {getattr(found.get(word), "__name__", "") for word in _compat.words_of(function)}
        for library in _LIBRARIES:
            if library in modules:
                return library
    return None
