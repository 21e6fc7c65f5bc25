"""Features that a run would read as empty because this store never got what Dagster knows of.

Right after a retrofit Dagster knows materializations that an older IO manager wrote; a store that
was lost, or put back to a backup, lacks some that this library wrote. Neither is an empty feature.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.errors import UnwrittenError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.keys import named_feature
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.stores import MetadataStore
from metaxy_dagster.stores.results import CommitMark

__all__ = [
    "Assets",
    "check_upstreams",
    "check_written",
    "lost_since",
    "said_of",
    "unwritten_upstreams",
    "warn_of_lost_commits",
    "warn_of_upstreams",
]

# So many parts of a range of partitions are looked at each for itself.
_PARTS = 16
# So many partitions are named in an error, and looked up in Dagster.
_NAMED = 10


def check_written(
    store: MetadataStore,
    asset: FeatureAsset,
    instance: dg.DagsterInstance | None,
    log: Any,
    *,
    keys: Sequence[str] | None = None,
    definition: dg.PartitionsDefinition[Any] | None = None,
    optional: bool = False,
) -> None:
    """Look whether what is loaded of a feature was ever written here.

    Args:
        store: where the feature is looked for.
        asset: the asset that is loaded.
        instance: what Dagster knows of it; ``None`` outside of a run.
        log: of the run; it is told of a feature that nobody has written anywhere.
        keys: the partitions that are loaded; ``None`` for all.
        definition: the asset's partitions.
        optional: whether whoever loads it can do without.

    Raises:
        UnwrittenError: Dagster knows materializations that this store never got.
    """
    mark = store.newest_commits([asset.feature]).get(asset.feature)
    if mark is None:
        event = None
        if instance is not None:
            event = instance.get_latest_materialization_event(asset.asset_key)
        if event is not None and not _was_empty(event):
            raise _unwritten(asset, f"materialized {_when(event)}", None)
        if event is None and not optional:
            log.warning(
                "feature %s was never written to this store: asset %s is read as empty",
                asset.feature,
                asset.asset_key.to_user_string(),
            )
    elif instance is not None and definition is not None and mark.first is not None:
        search = _Search(store, asset, instance, definition, mark.first)
        missing = list(search.missing(keys))
        if missing:
            key, event = missing[0]
            told = ", ".join(key for key, _ in missing)
            raise _unwritten(asset, f"partition {key} materialized {_when(event)}", told)


Assets: TypeAlias = Iterable[tuple[dg.AssetKey, Mapping[str, Any] | None]]


def unwritten_upstreams(
    store: MetadataStore,
    features: Iterable[FeatureKey],
    instance: dg.DagsterInstance,
    assets: Callable[[], Assets],
    *,
    but: Collection[FeatureKey] = (),
) -> list[tuple[FeatureAsset, dg.EventLogEntry]]:
    """Upstreams that were never written here though Dagster knows materializations of them.

    Args:
        store: where the features are looked for.
        features: what is computed.
        instance: what Dagster knows.
        assets: the assets that may carry the upstreams, each with its metadata, or ``None`` if
            that is not known; asked for only if an upstream is missing.
        but: upstreams that are not looked at: those that the same step makes are not missing.

    Returns:
        Each asset with its newest materialization.
    """
    plans = [store.graph.plan(feature) for feature in features]
    wanted = {dep.upstream.key for plan in plans for dep in plan.deps}.difference(but)
    missing = wanted - set(store.newest_commits(sorted(wanted, key=str))) if wanted else wanted
    found: list[tuple[FeatureAsset, dg.EventLogEntry]] = []
    for key, metadata in assets() if missing else ():
        feature = named_feature(metadata or {})
        if feature not in missing and (metadata is not None or len(missing) > 1):
            continue
        event = instance.get_latest_materialization_event(key)
        if event is not None and not _was_empty(event):
            found.append((FeatureAsset(key, feature or next(iter(missing))), event))
    return found


def check_upstreams(
    store: MetadataStore,
    features: Collection[FeatureKey],
    instance: dg.DagsterInstance,
    assets: Callable[[], Assets],
    *,
    but: FeatureKey | None,
) -> None:
    """As :func:`unwritten_upstreams`, for what one step makes.

    Raises:
        UnwrittenError: there is one.
    """
    others = features if but is None else [*features, but]
    for asset, event in unwritten_upstreams(store, features, instance, assets, but=others):
        raise _unwritten(asset, f"materialized {_when(event)}", None)


def warn_of_upstreams(
    store: MetadataStore,
    feature: FeatureKey,
    instance: dg.DagsterInstance | None,
    assets: Callable[[], Assets],
    log: Any,
) -> None:
    """As :func:`check_upstreams`, for what a function made of upstreams that it read itself.

    It may have read them where they were stored before, so this is no error.
    """
    if instance is None:
        return
    for asset, event in unwritten_upstreams(store, [feature], instance, assets):
        log.warning("feature %s depends on another: %s", feature, said_of(asset, event))


def said_of(asset: FeatureAsset, event: dg.EventLogEntry) -> str:
    """That a feature was never written here, in one sentence for people."""
    return (
        f"Feature {asset.feature} was never written to this store, though asset "
        f"{asset.asset_key.to_user_string()} was materialized {_when(event)}: run it, or write "
        "what it made with store.write(...)."
    )


def warn_of_lost_commits(
    store: MetadataStore, instance: dg.DagsterInstance | None, asset_key: dg.AssetKey, log: Any
) -> None:
    """Warn if the newest materialization of an asset is of a state that the store lost.

    The event that is about to be made is of a state that the store has: it is said once.

    Args:
        store: where the asset's feature is.
        instance: what Dagster knows of it; ``None`` outside of a run.
        asset_key: the asset.
        log: of the run.
    """
    found = None if instance is None else lost_since(store, instance, asset_key)
    if found is None:
        return
    event, mark = found
    log.warning(
        "asset %s was materialized %s as of commit %d of its store, which this store does not "
        "have: it was lost, put back to a backup, or is another one; what that store knew since "
        "then is computed again",
        asset_key.to_user_string(),
        _when(event),
        mark.number,
    )


def lost_since(
    store: MetadataStore, instance: dg.DagsterInstance, asset_key: dg.AssetKey
) -> tuple[dg.EventLogEntry, CommitMark] | None:
    """The newest materialization of an asset and its commit, if the store does not have it."""
    event = instance.get_latest_materialization_event(asset_key)
    value = None if event is None else _metadata(event).get(c.KEY_COMMIT)
    mark = None if value is None else CommitMark.of(str(value.value))
    return None if event is None or mark is None or store.has_commit(mark) else (event, mark)


@dataclass(frozen=True)
class _Search:
    """For partitions without rows that were materialized before the feature came to this store."""

    store: MetadataStore
    asset: FeatureAsset
    instance: dg.DagsterInstance
    definition: dg.PartitionsDefinition[Any]
    first: dt.datetime

    def missing(self, keys: Sequence[str] | None) -> Iterator[tuple[str, dg.EventLogEntry]]:
        """The partitions, each with its newest materialization."""
        if self.asset.partitions_fault(self.definition) is not None:
            return
        key = self.asset.asset_key
        if keys is None:
            known = self.instance.get_materialized_partitions(key)
            keys = [one for one in self.definition.get_partition_keys() if one in known]
        # In an order of their own: Dagster gives the partitions of a mapping as a set.
        parts = _parts(sorted(keys))
        empty = (one for part in parts if self._is_empty(part) for one in part)
        for one in itertools.islice(empty, _NAMED):
            event = _event(self.instance, key, one)
            first = self.first.timestamp()
            if event is not None and not _is_ours(event) and event.timestamp < first:
                yield one, event

    def _is_empty(self, keys: Sequence[str]) -> bool:
        feature = self.asset.feature
        schema = self.store.schema(feature)
        filters = self.asset.scope(keys, self.definition).filters(schema)
        return not schema or not self.store.count(feature, filters=filters)


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    size = max(1, -(-len(keys) // _PARTS))
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _event(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition: str
) -> dg.EventLogEntry | None:
    wanted = dg.AssetRecordsFilter(asset_key, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    return records[0].event_log_entry if records else None


def _metadata(event: dg.EventLogEntry) -> Any:
    found = event.asset_materialization
    return {} if found is None else found.metadata


def _was_empty(event: dg.EventLogEntry) -> bool:
    """Whether a materialization by this library says that the feature had no rows."""
    rows = _metadata(event).get(c.KEY_ROW_COUNT)
    return _is_ours(event) and rows is not None and rows.value == 0


def _is_ours(event: dg.EventLogEntry) -> bool:
    return c.KEY_STORE in _metadata(event)


def _when(event: dg.EventLogEntry) -> str:
    moment = dt.datetime.fromtimestamp(event.timestamp, tz=dt.UTC)
    run = f" in run {event.run_id}" if event.run_id else ""  # reported by hand: of no run
    return f"on {moment:%Y-%m-%d at %H:%M} UTC{run}"


def _unwritten(asset: FeatureAsset, found: str, partitions: str | None) -> UnwrittenError:
    what = "the feature" if partitions is None else f"partitions {partitions} of the feature"
    return UnwrittenError(
        f"Dagster knows materializations of the asset, but {what} were never written to this store"
        if partitions
        else f"Dagster knows materializations of the asset, but {what} was never written to this "
        "store",
        asset=asset.asset_key.to_user_string(),
        feature=str(asset.feature),
        found=found,
        allowed="an upstream that is in the store: what is missing there would be read as empty",
        remedy="run the asset itself, or take what it made before as computed: "
        f'metaxy-dagster adopt {asset.feature}, or store.adopt("{asset.feature}", frame)',
    )
