"""A sensor that requests runs for features with pending samples."""

# Annotations are not postponed here: Dagster reads that of the context when a sensor is made.

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.keys import names_feature
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import said_of, unwritten_upstreams
from metaxy_dagster.runtime.automation.pending import pending_counts
from metaxy_dagster.runtime.automation.requests import (
    BACKOFF_SECONDS,
    MAX_ATTEMPTS,
    Asking,
    Request,
    checked_patience,
)
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
    max_attempts: int = MAX_ATTEMPTS,
    backoff_seconds: float = BACKOFF_SECONDS,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    tags: Mapping[str, str] | None = None,
) -> dg.SensorDefinition:
    """Make a sensor that asks for one run of all assets whose features have work to do.

    It only counts. A tick looks at ``max_features`` features at most, the next one at those after
    them; it requests ``max_assets`` assets at most, upstream ones first. While a run of an asset
    is on its way, it waits. It asks again when something was written since or the counts have
    changed; and after a run that failed, was cancelled or is gone, up to ``max_attempts`` times.
    Samples that a run has left pending do not start another one. Partitioned assets are left to
    Dagster's own automation.

    Args:
        assets: the assets to watch, or their specs; those without a feature, or of a feature
            without upstreams, are passed over.
        name: the sensor's name.
        store_resource_key: the resource that is the store, or an IO manager that has it.
        max_assets: how many assets one run may have.
        max_features: how many features one tick may count.
        max_attempts: how often runs are asked for while they fail and nothing else changes.
        backoff_seconds: how long to wait after the first one that failed; twice as long after
            the next, and so on.
        minimum_interval_seconds: the least time between two ticks.
        default_status: whether it runs as soon as it is deployed.
        tags: tags of the runs.

    Raises:
        DefinitionsError: none of the assets is tied to a feature; or a number makes no sense.
        RunError: the metadata of an asset has a value that is not allowed.

    Example:
        >>> @dg.asset(metadata={"metaxy/feature": "video/faces"})
        ... def faces(): ...
        >>> build_pending_sensor([faces]).name
        'metaxy_pending'
    """
    checked_patience(max_attempts, backoff_seconds)
    watched, carriers = watched_assets(assets), _carriers(assets)
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
        asking = Asking(store, context.instance, time.time(), max_attempts, backoff_seconds)
        wanted, cursor = _Tick(watched, asking, max_assets, max_features).run(context.cursor)
        if not wanted:
            features = {asset.feature for asset in watched.values()}
            lost = unwritten_upstreams(store, features, context.instance, lambda: carriers)
            said = " ".join(said_of(asset, event) for asset, event in lost)
            reason = said or "No feature has new work to do."
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        request = dg.RunRequest(asset_selection=wanted, tags=dict(tags or {}))
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return pending


def _carriers(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
) -> list[tuple[dg.AssetKey, Mapping[str, Any]]]:
    """All assets of features, also those that are only looked at."""
    specs = [
        spec for one in assets for spec in ([one] if isinstance(one, dg.AssetSpec) else one.specs)
    ]
    return [(spec.key, spec.metadata) for spec in specs if names_feature(spec.metadata)]


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
        if names_feature(spec.metadata) and spec.partitions_def is None
    }


@dataclass(frozen=True)
class _Tick:
    """What one tick asks for.

    Attributes:
        watched: the assets, by key.
        asking: decides of each.
        max_assets: how many one run may have.
        max_features: how many are looked at.
    """

    watched: Mapping[dg.AssetKey, FeatureAsset]
    asking: Asking
    max_assets: int
    max_features: int

    def run(self, cursor: str | None) -> tuple[list[dg.AssetKey], str]:
        """The assets to request, and what to remember of them."""
        state = _remembered(cursor)
        seen: dict[str, Any] = state["seen"]
        store = self.asking.store
        order = _order(store, self.watched)
        start = state["next"]
        start = start if start < len(order) else 0
        looked_at = order[start : start + self.max_features]
        wanted: list[dg.AssetKey] = []
        # Opening the store costs more than most of these counts.
        with store.connected():
            for key in looked_at:
                asset, text = self.watched[key], key.to_user_string()
                counts = pending_counts(store, asset)
                if not (counts.pending or counts.orphaned):
                    seen.pop(text, None)
                elif len(wanted) < self.max_assets:
                    request = self.asking.request(asset, counts, Request.of(seen.get(text)))
                    if request is not None:
                        wanted.append(key)
                        seen[text] = request.data()
        return wanted, json.dumps({"next": start + len(looked_at), "seen": seen})


def _remembered(cursor: str | None) -> dict[str, Any]:
    """What an earlier tick kept; a cursor that somebody set by hand is one of no tick."""
    try:
        state = json.loads(cursor or "{}")
    except ValueError:
        state = {}
    state = state if isinstance(state, dict) else {}
    seen, start = state.get("seen"), state.get("next")
    return {
        "seen": seen if isinstance(seen, dict) else {},
        "next": start if isinstance(start, int) and start >= 0 else 0,
    }


def _order(store: MetadataStore, watched: Mapping[dg.AssetKey, FeatureAsset]) -> list[dg.AssetKey]:
    """The assets of derived features, upstream first."""
    by_feature: dict[FeatureKey, list[dg.AssetKey]] = {}
    for key, asset in sorted(watched.items()):
        if not store.graph.plan(asset.feature).is_root:
            by_feature.setdefault(asset.feature, []).append(key)
    return [key for each in store.graph.topological_order(by_feature) for key in by_feature[each]]
