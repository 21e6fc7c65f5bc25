"""A sensor that requests runs for features with pending samples."""

# Annotations are not postponed here: Dagster reads that of the context when a sensor is made.

import json
from collections.abc import Mapping, Sequence

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime.feature_asset import FeatureAsset
from metaxy_dagster.runtime.pending import pending_counts
from metaxy_dagster.runtime.store_source import store_within
from metaxy_dagster.stores import MetadataStore

__all__ = ["SENSOR_NAME", "build_pending_sensor", "watched_assets"]

SENSOR_NAME = "metaxy_pending"


def build_pending_sensor(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
    *,
    name: str = SENSOR_NAME,
    store_resource_key: str = c.RESOURCE_STORE,
    max_assets: int = 50,
    max_features: int = 200,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    tags: Mapping[str, str] | None = None,
) -> dg.SensorDefinition:
    """Make a sensor that asks for one run of all assets whose features have work to do.

    It only counts. A tick looks at ``max_features`` features at most, the next one at those after
    them; it requests ``max_assets`` assets at most, upstream ones first. What was requested is
    requested again only when its counts have changed, so that samples which an asset leaves
    pending do not make it run for ever. Partitioned assets are left to Dagster's own automation.

    Args:
        assets: the assets to watch, or their specs; those without a feature, or of a feature
            without upstreams, are passed over.
        name: the sensor's name.
        store_resource_key: the resource that is the store, or an IO manager that has it.
        max_assets: how many assets one run may have.
        max_features: how many features one tick may count.
        minimum_interval_seconds: the least time between two ticks.
        default_status: whether it runs as soon as it is deployed.
        tags: tags of the runs.

    Raises:
        DefinitionsError: none of the assets is tied to a feature.
        RunError: the metadata of an asset has a value that is not allowed.

    Example:
        >>> @dg.asset(metadata={"metaxy/feature": "video/faces"})
        ... def faces(): ...
        >>> build_pending_sensor([faces]).name
        'metaxy_pending'
    """
    watched = watched_assets(assets)
    if not watched:
        raise DefinitionsError(
            "the sensor has nothing to watch",
            found=f"{len(assets)} definitions without an unpartitioned asset of a feature",
            remedy=f'set metadata "{c.KEY_FEATURE}" on an asset',
        )

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(*watched),
        minimum_interval_seconds=minimum_interval_seconds,
        required_resource_keys={store_resource_key},
        metadata={c.KEY_SENSOR: SENSOR_NAME},
        default_status=default_status,
        description="Requests runs for features with pending or orphaned samples.",
    )
    def pending(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        store = store_within(getattr(context.resources, store_resource_key), context.instance)
        wanted, cursor = _tick(store, watched, context.cursor, max_assets, max_features)
        if not wanted:
            return dg.SensorResult(skip_reason="No feature has new work to do.", cursor=cursor)
        request = dg.RunRequest(asset_selection=wanted, tags=dict(tags or {}))
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return pending


def watched_assets(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
) -> dict[dg.AssetKey, FeatureAsset]:
    """The unpartitioned feature assets that a run can materialize, by key."""
    specs = [
        spec
        for one in assets
        if isinstance(one, dg.AssetSpec) or one.is_materializable
        for spec in ([one] if isinstance(one, dg.AssetSpec) else one.specs)
    ]
    return {
        spec.key: FeatureAsset.required(spec.key, spec.metadata)
        for spec in specs
        if c.KEY_FEATURE in spec.metadata and spec.partitions_def is None
    }


def _tick(
    store: MetadataStore,
    watched: Mapping[dg.AssetKey, FeatureAsset],
    cursor: str | None,
    max_assets: int,
    max_features: int,
) -> tuple[list[dg.AssetKey], str]:
    """The assets to request, and what to remember of them."""
    state = json.loads(cursor) if cursor else {}
    seen: dict[str, list[int]] = state.get("seen", {})
    order = _order(store, watched)
    start = state.get("next", 0)
    start = start if start < len(order) else 0
    looked_at = order[start : start + max_features]
    wanted: list[dg.AssetKey] = []
    # Opening the store costs more than most of these counts.
    with store.connected():
        counted = {key: pending_counts(store, watched[key]) for key in looked_at}
    for key, counts in counted.items():
        found = [counts.new, counts.stale, counts.orphaned]
        text = key.to_user_string()
        if not any(found):
            seen.pop(text, None)
        elif seen.get(text) != found and len(wanted) < max_assets:
            wanted.append(key)
            seen[text] = found
    return wanted, json.dumps({"next": start + len(looked_at), "seen": seen})


def _order(store: MetadataStore, watched: Mapping[dg.AssetKey, FeatureAsset]) -> list[dg.AssetKey]:
    """The assets of derived features, upstream first."""
    by_feature: dict[FeatureKey, list[dg.AssetKey]] = {}
    for key, asset in sorted(watched.items()):
        if not store.graph.plan(asset.feature).is_root:
            by_feature.setdefault(asset.feature, []).append(key)
    return [key for each in store.graph.topological_order(by_feature) for key in by_feature[each]]
