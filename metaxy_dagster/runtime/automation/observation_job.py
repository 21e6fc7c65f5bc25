"""Jobs that observe features, on a schedule of their own."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.keys import named_feature
from metaxy_dagster.runtime.events.report import opened_store, partition_keys, report_feature

__all__ = ["build_metaxy_multi_observation_job", "build_metaxy_observation_job"]

AssetLike: TypeAlias = dg.AssetSpec | dg.AssetsDefinition | dg.SourceAsset
_DATA_VERSION_TAG = "dagster/data_version"


def build_metaxy_observation_job(
    asset: AssetLike,
    *,
    store_resource_key: str = c.RESOURCE_STORE,
    tags: Mapping[str, str] | None = None,
) -> list[dg.JobDefinition]:
    """Build jobs that observe the features of one asset definition, one job each.

    A job has the partitions of its asset and observes those that it is run for. Its name is
    ``observe_`` and the asset's key.

    Args:
        asset: an asset, a multi-asset or a spec.
        store_resource_key: the resource that holds the store.
        tags: tags of the jobs.

    Raises:
        DefinitionsError: no asset of the definition is tied to a feature.

    Example:
        >>> spec = dg.AssetSpec("faces", metadata={"metaxy/feature": "video/faces"})
        >>> [job.name for job in build_metaxy_observation_job(spec)]
        ['observe_faces']
    """
    return [
        _job(f"observe_{_name(spec)}", [spec], store_resource_key, tags, spec.partitions_def)
        for spec in _feature_specs([asset])
    ]


def build_metaxy_multi_observation_job(
    name: str,
    *,
    assets: Sequence[AssetLike] | None = None,
    defs: dg.Definitions | None = None,
    asset_selection: dg.AssetSelection | None = None,
    store_resource_key: str = c.RESOURCE_STORE,
    tags: Mapping[str, str] | None = None,
    **options: Any,
) -> dg.JobDefinition:
    """Build one job that observes many features, each in a step of its own.

    Args:
        name: the job's name.
        assets: what to observe; assets without a feature are passed over.
        defs: instead, all feature assets of these definitions.
        asset_selection: with ``defs``, only those that it selects.
        store_resource_key: the resource that holds the store.
        tags: tags of the job.
        **options: anything else that ``dagster.job`` takes, such as ``hooks``.

    Raises:
        DefinitionsError: nothing to observe, or both ``assets`` and ``defs`` are given.

    Example:
        >>> specs = [
        ...     dg.AssetSpec(name, metadata={"metaxy/feature": f"video/{name}"})
        ...     for name in ("faces", "sound")
        ... ]
        >>> job = build_metaxy_multi_observation_job("observe_all", assets=specs)
        >>> sorted(node.name for node in job.nodes)
        ['observe_faces', 'observe_sound']
    """
    if (assets is None) == (defs is None):
        raise DefinitionsError(
            "an observation job needs to know what it observes",
            found="assets and defs" if assets is not None else "neither assets nor defs",
            allowed="assets=[...], or defs=..., which asset_selection= may narrow",
            remedy="pass one of them",
        )
    specs = _feature_specs(assets if defs is None else defs.resolve_asset_graph().assets_defs)
    if asset_selection is not None and defs is not None:
        chosen = asset_selection.resolve(defs.resolve_asset_graph())
        specs = [spec for spec in specs if spec.key in chosen]
    if not specs:
        raise _nothing(f"observation job {name!r}")
    return _job(name, specs, store_resource_key, tags, None, **options)


def _feature_specs(assets: Sequence[Any] | Any) -> list[dg.AssetSpec]:
    found: dict[dg.AssetKey, dg.AssetSpec] = {}
    for asset in assets:
        if isinstance(asset, dg.SourceAsset):
            specs = [dg.AssetSpec(asset.key, metadata=asset.metadata)]
        else:
            specs = [asset] if isinstance(asset, dg.AssetSpec) else list(asset.specs)
        found.update((s.key, s) for s in specs if named_feature(s.metadata) is not None)
    if not found:
        raise _nothing("the observation job")
    return [found[key] for key in sorted(found)]


def _nothing(what: str) -> DefinitionsError:
    return DefinitionsError(
        f"{what} has nothing to observe",
        found="no asset that is tied to a feature",
        remedy=f'set metadata "{c.KEY_FEATURE}" on an asset, or widen the selection',
    )


def _name(spec: dg.AssetSpec) -> str:
    return spec.key.to_python_identifier()


def _job(
    name: str,
    specs: Sequence[dg.AssetSpec],
    store_resource_key: str,
    tags: Mapping[str, str] | None,
    partitions_def: dg.PartitionsDefinition[Any] | None,
    **options: Any,
) -> dg.JobDefinition:
    ops = [_observation_op(spec, store_resource_key) for spec in specs]

    def observe_all() -> None:
        for each in ops:
            each()

    made = dg.graph(name=name)(observe_all)
    return made.to_job(name=name, tags=tags, partitions_def=partitions_def, **options)


def _observation_op(spec: dg.AssetSpec, store_resource_key: str) -> dg.OpDefinition:
    def observe(context: dg.OpExecutionContext) -> None:
        store = opened_store(getattr(context.resources, store_resource_key), context)
        keys = partition_keys(context) if spec.partitions_def is not None else None
        for key in [None] if keys is None else keys:
            found = report_feature(context, store, spec, keys=None if key is None else [key])
            context.log_event(
                dg.AssetObservation(
                    spec.key,
                    metadata=found.metadata,
                    partition=key,
                    tags={**found.tags, _DATA_VERSION_TAG: found.data_version},
                )
            )

    return dg.op(
        name=f"observe_{_name(spec)}",
        required_resource_keys={store_resource_key},
        out=dg.Out(dg.Nothing),
    )(observe)
