"""An automation condition that is true while samples of an asset's feature are pending."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from metaxy_dagster.errors import RunError
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.upstream_assets import upstream_assets, windows_upstream
from metaxy_dagster.runtime.assets.upstream_partitions import Share, filters_of
from metaxy_dagster.runtime.automation.pending import pending_counts, share_of
from metaxy_dagster.runtime.automation.requests import (
    BACKOFF_SECONDS,
    MAX_ATTEMPTS,
    Asking,
    Request,
    checked_patience,
)
from metaxy_dagster.runtime.store_source import store_within
from metaxy_dagster.stores import Counts, MetadataStore

__all__ = ["PendingSamples", "pending_samples"]

#: Of an asset without partitions, what stands in place of a partition's key.
_WHOLE = ""
#: So many partitions of an asset are requested at most by one evaluation.
_MAX_PARTITIONS = 100


def pending_samples(
    *,
    orphaned: bool = False,
    once: bool = False,
    store: object = None,
    max_partitions: int = _MAX_PARTITIONS,
    max_attempts: int = MAX_ATTEMPTS,
    backoff_seconds: float = BACKOFF_SECONDS,
) -> PendingSamples:
    """A condition that is true while samples of an asset's feature are new or stale.

    Of a partitioned asset it is true for the partitions that have such samples. It counts, and
    reads no sample. Dagster evaluates conditions of a user's own in the code location, so it
    takes a sensor with ``use_user_code_server=True`` over the asset; the pass adds one where it
    is missing. It combines with other conditions by ``&``, ``|`` and ``~``.

    Args:
        orphaned: whether it is also true while samples are orphaned.
        once: whether it turns false as soon as Dagster has requested the asset: while the run is
            on its way, and after it until something is written or the counts change; so that
            samples which the asset leaves pending do not start runs for ever. After a run that
            failed, was cancelled or is gone it turns true again.
        store: where the features are: a store, or a resource that has one; by default what the
            asset's own IO manager, or its resource ``store``, reads and writes.
        max_partitions: for how many partitions it is true at most in one evaluation.
        max_attempts: with ``once``, how often it turns true for runs that fail while nothing else
            changes.
        backoff_seconds: with ``once``, how long it waits after the first one that failed; twice
            as long after the next, and so on.

    Returns:
        The condition; ``with_label`` names it for the user interface.

    Raises:
        DefinitionsError: a number that makes no sense.

    Example:
        >>> condition = pending_samples(once=True) & ~dg.AutomationCondition.in_progress()
        >>> @dg.asset(metadata={"metaxy/feature": "video/faces"}, automation_condition=condition)
        ... def faces(): ...
        >>> [child.get_label() for child in condition.children]
        ['pending_samples', None]
    """
    checked_patience(max_attempts, backoff_seconds)
    return PendingSamples(
        orphaned=orphaned,
        once=once,
        store=store,
        max_partitions=max_partitions,
        max_attempts=max_attempts,
        backoff_seconds=backoff_seconds,
    )


# Not compared by value: Dagster compares conditions by the ids that it gives to their nodes.
@dataclass(frozen=True, eq=False, kw_only=True)
class PendingSamples(dg.AutomationCondition[dg.AssetKey]):
    """See :func:`pending_samples`, which makes it.

    Args:
        orphaned: as there.
        once: as there.
        store: as there.
        fallback: as ``store``, for an asset whose own resources hold none.
        max_partitions: as there.
        max_attempts: as there.
        backoff_seconds: as there.
        label: how the user interface names it.
    """

    orphaned: bool = False
    once: bool = False
    store: object = field(default=None, repr=False)
    fallback: object = field(default=None, repr=False)
    max_partitions: int = _MAX_PARTITIONS
    max_attempts: int = MAX_ATTEMPTS
    backoff_seconds: float = BACKOFF_SECONDS
    label: str | None = "pending_samples"

    @property
    def name(self) -> str:
        """What Dagster calls it."""
        return "pending_samples"

    @property
    def description(self) -> str:
        """When it is true."""
        which = "new, stale or orphaned" if self.orphaned else "new or stale"
        once = ", and no run has been at them yet" if self.once else ""
        return f"Samples of the feature are {which}{once}"

    def get_label(self) -> str | None:
        """How the user interface names it."""
        return self.label

    def with_label(self, label: str | None) -> PendingSamples:
        """The same condition under another name."""
        return replace(self, label=label)

    def evaluate(self, context: dg.AutomationContext[Any]) -> dg.AutomationResult[Any]:
        """For Dagster to call.

        Raises:
            RunError: the asset that the condition stands on is tied to no feature, or nothing
                says where its store is.
        """
        asset = self._asset(context)
        keys = _candidates(context)
        if asset is None or not keys:
            return dg.AutomationResult(context, context.get_empty_subset(), cursor=context.cursor)
        memory = _Memory.read(context) if self.once else _Memory()
        store = self._opened(context)
        asking = Asking(
            store,
            context.asset_graph_view.instance,
            context.evaluation_time.timestamp(),
            self.max_attempts,
            self.backoff_seconds,
        )
        found: dict[str, Counts] = {}
        asked: dict[str, Request] = {}
        assets = _compat.Assets(context.asset_graph, context.asset_graph_view.instance)
        for key, counts, share in self._pending(store, asset, assets, keys, memory):
            if self.once:
                request = memory.request(asking, key, counts, share)
                if request is None:
                    continue
                asked[key] = request
            found[key] = counts
            if len(found) == self.max_partitions:
                break
        chosen = context.get_empty_subset()
        if found:
            what = ", ".join(
                f"{key or 'the feature'}: {(n.new, n.stale, n.orphaned)}"
                for key, n in list(found.items())[:5]
            )
            context.log.info("%s: new, stale, orphaned of %s", asset.feature, what)
            chosen = context.candidate_subset
            if context.partitions_def is not None:
                chosen = chosen.compute_intersection_with_partition_keys(set(found))
        cursor = memory.text(asked) if self.once else None
        return dg.AutomationResult(context, chosen, cursor=cursor)

    def _asset(self, context: dg.AutomationContext[Any]) -> FeatureAsset | None:
        key = context.key
        metadata = _compat.condition_metadata(context)
        asset = FeatureAsset.of(key, metadata) if isinstance(key, dg.AssetKey) else None
        if asset is None and key == context.root_context.key:
            raise RunError(
                "the automation condition counts samples, but the asset is tied to no feature",
                asset=key.to_user_string(),
                found=sorted(metadata),
                remedy='set metadata "metaxy/feature" on it, or take pending_samples() off it',
            )
        return asset  # of deps, those that are no features have nothing pending

    def _opened(self, context: dg.AutomationContext[Any]) -> MetadataStore:
        instance = context.asset_graph_view.instance
        if self.store is not None:
            return store_within(self.store, instance)
        for value in (*_compat.condition_resources(context), self.fallback):
            try:
                return store_within(value, instance)
            except RunError:
                continue
        raise RunError(
            "the automation condition does not know in which store the feature is",
            asset=context.key.to_user_string(),
            found="neither the asset's IO manager nor a resource that it requires has a store",
            remedy="say pending_samples(store=...)",
        )

    def _pending(
        self,
        store: MetadataStore,
        asset: FeatureAsset,
        assets: _compat.Assets,
        keys: Sequence[str],
        memory: _Memory,
    ) -> Iterator[tuple[str, Counts, Share]]:
        """Partitions with something to do, each with its counts; halves without any are left."""
        definition = assets.partitions_def(asset.asset_key)
        waiting = [list(keys)]
        while waiting:
            part = waiting.pop()
            keys_of, scope = None, None
            if definition is not None:
                also = windows_upstream(assets, asset.asset_key)
                keys_of, scope = part, asset.scope(part, definition, also)
            upstreams = upstream_assets(assets, asset.asset_key, keys_of)
            share = share_of(asset, scope, upstreams)
            counts = pending_counts(store, share)
            found = (counts.new, counts.stale, counts.orphaned)
            if not (any(found) if self.orphaned else counts.pending):
                memory.forget(part)
            elif len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                yield part[0], counts, share


@dataclass(frozen=True)
class _Memory:
    """What was requested, and what was found, in evaluations before this one.

    Attributes:
        seen: the last request of each partition.
        found: what was to be requested by the last evaluation, if nothing else was in the way.
    """

    seen: dict[str, Request] = field(default_factory=dict)
    found: Mapping[str, Request] = field(default_factory=dict)

    @classmethod
    def read(cls, context: dg.AutomationContext[Any]) -> _Memory:
        if not context.cursor:
            return cls()
        state: dict[str, dict[str, Any]] = json.loads(context.cursor)
        seen, found = (
            {key: one for key, data in state[name].items() if (one := Request.of(data))}
            for name in ("seen", "found")
        )
        requested = context.get_previous_requested_subset(context.key)
        if requested is not None and not requested.is_empty:
            keys = set(found) if context.partitions_def is None else _keys(requested)
            seen |= {key: found[key] for key in keys & set(found)}
        return cls(seen, found)

    def request(self, asking: Asking, key: str, counts: Counts, share: Share) -> Request | None:
        """What to ask for now, for one partition."""
        with asking.store.connected():
            plan = asking.store.graph.plan(share.asset.feature)
            filters = filters_of(asking.store, plan, share)
        return asking.request(
            share.asset, counts, self.seen.get(key), partition=key or None, filters=filters
        )

    def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.seen.pop(key, None)

    def text(self, found: Mapping[str, Request]) -> str:
        return json.dumps(
            {
                name: {key: one.data() for key, one in requests.items()}
                for name, requests in (("seen", self.seen), ("found", found))
            }
        )


def _candidates(context: dg.AutomationContext[Any]) -> Sequence[str]:
    subset = context.candidate_subset
    if subset.is_empty:
        return []
    if context.partitions_def is None:
        return [_WHOLE]
    wanted = _keys(subset)
    return [key for key in context.partitions_def.get_partition_keys() if key in wanted]


def _keys(subset: Any) -> set[str]:
    return set(subset.expensively_compute_partition_keys())
