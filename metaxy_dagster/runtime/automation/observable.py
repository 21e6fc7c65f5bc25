"""Assets that watch features which are written outside of Dagster."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

import inspect
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.events.event_metadata import VersionedBy
from metaxy_dagster.runtime.events.report import opened_store, report_feature

__all__ = ["observable_metaxy_asset"]


def observable_metaxy_asset(
    key: dg.AssetKey | str | Sequence[str] | None = None,
    *,
    feature: CoercibleToFeatureKey,
    store_resource_key: str = c.RESOURCE_STORE,
    versioned_by: VersionedBy = "content",
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    automation_condition: dg.AutomationCondition[dg.AssetKey] | None = None,
    group_name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    kinds: AbstractSet[str] | None = None,
    owners: Sequence[str] | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make an observable asset of a feature that is written outside of Dagster.

    The decorated function gets the context, the store and the feature's samples as a narwhals
    lazy frame, system columns included; the metadata that it returns, if any, is added to the
    observation. Row counts, schema, preview and an exact data version are there by themselves.

    Args:
        key: the asset's key, slash-separated as text; by default the feature's.
        feature: key, spec or class of the feature.
        store_resource_key: the resource that holds the store.
        versioned_by: ``"content"`` moves the data version with any change and with nothing else;
            ``"created_at"`` takes the mean time of creation, as Metaxy does.
        partitions_def: the asset's partitions; ``metadata`` then holds ``partition_by``.
        automation_condition: when to observe.
        group_name: the asset's group.
        description: by default the function's docstring.
        metadata: more metadata of the asset.
        tags: the asset's tags.
        kinds: more kinds than ``metaxy``.
        owners: the asset's owners.

    Raises:
        FeatureError: ``feature`` is no key.
        RunError: in a run, if the function returns something else than a mapping or nothing.

    Example:
        >>> @observable_metaxy_asset(key="raw/video", feature="video/raw")
        ... def video(context, store, lazy_df):
        ...     return {"columns": len(lazy_df.collect_schema())}
        >>> video.key, video.is_observable
        (AssetKey(['raw', 'video']), True)
    """
    feature_key = FeatureKey(feature)
    given = key if key is not None else list(feature_key.parts)
    if isinstance(given, str):
        asset_key = dg.AssetKey.from_user_string(given)
    else:
        asset_key = dg.AssetKey.from_coercible(given)

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        spec = dg.AssetSpec(
            asset_key,
            description=description or inspect.getdoc(function),
            metadata={**(metadata or {}), c.KEY_FEATURE: str(feature_key)},
            tags=tags,
            kinds={c.KIND, *(kinds or ())},
            owners=owners,
            group_name=group_name,
            automation_condition=automation_condition,
            partitions_def=partitions_def,
        )

        def observe(context: dg.AssetExecutionContext) -> Any:
            store = opened_store(getattr(context.resources, store_resource_key), context)
            # The pass may have brought more to the asset than was known here.
            current = context.assets_def.specs_by_key[context.asset_key]
            found = report_feature(context, store, current, versioned_by=versioned_by)
            frame = store.read(found.asset.feature, filters=found.filters)
            added = function(context, store, frame)
            yield dg.ObserveResult(
                asset_key=context.asset_key,
                # The user's own first: Dagster shows entries in this order.
                metadata={**(own := _checked(added, current.key)), **found.metadata, **own},
                tags=found.tags,
                data_version=dg.DataVersion(found.data_version),
            )

        return _compat.observable(spec, observe, required_resource_keys={store_resource_key})

    return decorate


def _checked(added: Any, asset_key: dg.AssetKey) -> Mapping[str, Any]:
    if added is None:
        return {}
    if isinstance(added, Mapping):
        return added
    raise RunError(
        "the function of an observable asset returned something that is no metadata",
        asset=asset_key.to_user_string(),
        found=f"{type(added).__module__}.{type(added).__qualname__}",
        allowed="a mapping of names to metadata values, or None",
        remedy="return a dict, or nothing",
    )
