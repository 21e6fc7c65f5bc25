"""Definitions, asset objects, deps and checks: how they are read and built again."""

from __future__ import annotations

import contextlib
import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.external_asset import create_external_asset_from_source_asset
from dagster._core.definitions.partitions.utils import infer_partition_mapping
from dagster._utils.warnings import disable_dagster_warnings
from dagster.components.definitions import LazyDefinitions
from dagster_shared.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "DAGSTER_ERRORS",
    "DEFAULT_GROUP",
    "DEFAULT_IO_MANAGER_KEY",
    "IO_MANAGER_METADATA_KEY",
    "KIND_PREFIX",
    "asset_graph",
    "attributes_of",
    "check_with_keys",
    "definitions_fields",
    "dep_metadata",
    "dep_with",
    "external_from_source",
    "kind_limit",
    "lazy_with",
    "partition_mapping_fault",
    "quiet",
    "rebuilt",
]

#: Metadata key that names the IO manager of an asset without an op.
IO_MANAGER_METADATA_KEY = "dagster/io_manager_key"
#: What Dagster raises when it refuses a definition.
DAGSTER_ERRORS = (dg.DagsterError, CheckError)
DEFAULT_IO_MANAGER_KEY = "io_manager"
DEFAULT_GROUP = "default"
KIND_PREFIX = "dagster/kind/"
_QUIET: ContextVar[bool] = ContextVar("metaxy_quiet", default=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Dagster's beta and preview warnings for the objects that we only rebuild.

    Inside itself it does nothing: changing Python's warning filters costs more than an asset.
    """
    if _QUIET.get():
        yield
        return
    token = _QUIET.set(True)
    try:
        with disable_dagster_warnings():
            yield
    finally:
        _QUIET.reset(token)


def definitions_fields(defs: dg.Definitions) -> dict[str, Any]:
    """All constructor arguments of a Definitions, whatever this Dagster version has."""
    parameters = inspect.signature(dg.Definitions.__new__).parameters
    return {name: getattr(defs, name) for name in parameters if name != "cls"}


def attributes_of(definition: dg.AssetsDefinition) -> dict[str, Any]:
    """The constructor arguments that would build the definition again."""
    return definition.get_attributes_dict()


def rebuilt(definition: dg.AssetsDefinition, attributes: Mapping[str, Any]) -> dg.AssetsDefinition:
    """A definition of the same class with other constructor arguments."""
    with quiet():
        checks_only = isinstance(definition, dg.AssetChecksDefinition)
        made = dg.AssetsDefinition.dagster_internal_init(**attributes)
        return made.coerce_to_checks_def() if checks_only else made


def external_from_source(source: dg.SourceAsset) -> dg.AssetsDefinition:
    """The external asset that Dagster itself would make of a SourceAsset."""
    with quiet():
        return create_external_asset_from_source_asset(source)


def asset_graph(definitions: Iterable[dg.AssetsDefinition | dg.SourceAsset]) -> AssetGraph:
    """The resolved asset graph, as a repository would build it, without building jobs."""
    with quiet():
        return AssetGraph.from_assets(definitions)


def lazy_with(lazy: LazyDefinitions[Any], load: Callable[..., Any]) -> LazyDefinitions[Any]:
    """The same ``@definitions`` function with another body."""
    return replace(lazy, load_fn=load)


def dep_metadata(dep: dg.AssetDep) -> Mapping[str, Any]:
    """The metadata of a dep; deps have none on older releases."""
    return getattr(dep, "metadata", None) or {}


def dep_with(
    dep: dg.AssetDep,
    *,
    key: dg.AssetKey | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
) -> dg.AssetDep:
    """The dep on another key or with another partition mapping, and the rest of it as it was."""
    changes: dict[str, Any] = {} if key is None else {"asset_key": key}
    if partition_mapping is not None:
        changes["partition_mapping"] = partition_mapping
    return dep._replace(**changes)


def check_with_keys(
    check: dg.AssetCheckSpec, keys: Mapping[dg.AssetKey, dg.AssetKey]
) -> dg.AssetCheckSpec:
    """The check over other keys: its asset and its additional deps; itself if none changes."""
    target = keys.get(check.asset_key, check.asset_key)
    deps = [
        dep_with(dep, key=keys[dep.asset_key]) if dep.asset_key in keys else dep
        for dep in check.additional_deps
    ]
    if target == check.asset_key and deps == list(check.additional_deps):
        return check
    return replace(check, asset_key=target, additional_deps=deps)


def partition_mapping_fault(
    downstream: dg.PartitionsDefinition[str] | None, upstream: dg.PartitionsDefinition[str] | None
) -> str | None:
    """Why Dagster's default mapping between two partitionings is refused; None if it is not.

    Dagster itself only says so when a repository is validated, not when it is loaded.
    """
    if upstream is None or downstream is None:
        return None
    mapping = infer_partition_mapping(None, downstream, upstream)
    try:
        mapping.validate_partition_mapping(upstream, downstream)
    except dg.DagsterInvalidDefinitionError as error:
        return str(error)
    return None


@functools.cache
def kind_limit() -> int:
    """How many kinds an asset may have: ten, or three on older releases; found by trying."""
    for limit in (10, 3):
        try:
            dg.AssetSpec("probe", kinds={f"k{number}" for number in range(limit)})
        except dg.DagsterInvalidDefinitionError:
            continue
        return limit
    return 0
