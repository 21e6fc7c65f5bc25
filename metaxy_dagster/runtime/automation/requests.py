"""When a run is to be asked for: what was seen, what was asked for, and what became of it.

Counts alone tell too little: as many new samples as were just computed look like those, and a run
that died looks like one that left them. A request is remembered with the commits that it saw and
with the run that was the asset's newest then; the run that came of it is found in the instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import lost_since
from metaxy_dagster.runtime.assets.upstream_partitions import Filters
from metaxy_dagster.stores import Counts, MetadataStore
from metaxy_dagster.stores.frames.encoding import hash_parts

__all__ = ["BACKOFF_SECONDS", "MAX_ATTEMPTS", "Asking", "Request", "checked_patience"]

MAX_ATTEMPTS = 3
BACKOFF_SECONDS = 60.0
_OVER = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Request:
    """A run that was asked for.

    Attributes:
        saw: the versions, the upstreams' newest commits and the counts.
        own: the feature's own newest commit.
        run: the newest run of the asset at that time; the one that was asked for is newer.
        attempt: 1, and one more each time that a run for the same failed or never came to be.
        at: seconds since 1970.
    """

    saw: str
    own: str
    run: str | None
    attempt: int
    at: float

    @classmethod
    def of(cls, value: Any) -> Request | None:
        """From what :meth:`data` gave; ``None`` for what another release has remembered."""
        try:
            return cls(**value)
        except TypeError:
            return None

    def data(self) -> dict[str, Any]:
        """As it is kept between two looks."""
        return asdict(self)


@dataclass(frozen=True)
class Asking:
    """Decides what to ask for.

    Attributes:
        store: where the features are.
        instance: knows the runs.
        now: seconds since 1970.
        max_attempts: how often a run is asked for at most while nothing else changes.
        backoff_seconds: after a run that failed, how long to wait for the first time; twice as
            long each time after that.
    """

    store: MetadataStore
    instance: dg.DagsterInstance
    now: float
    max_attempts: int = MAX_ATTEMPTS
    backoff_seconds: float = BACKOFF_SECONDS

    def request(
        self,
        asset: FeatureAsset,
        counts: Counts,
        before: Request | None,
        *,
        partition: str | None = None,
        filters: Filters = (),
    ) -> Request | None:
        """The request to make now; ``None`` to wait, or because nothing is to be gained.

        Args:
            asset: the asset, of which samples wait.
            counts: how many.
            before: the request before this one.
            partition: the partition that is looked at.
            filters: the samples of that partition, or the rows of each feature that are looked at.
        """
        found = self._look(asset, counts, partition, filters)
        newest = found.run
        status = None if newest is None else _status(self.instance, newest)
        if status is not None and not _is_finished(status):
            return None
        if before is None or before.saw != found.saw:
            return found
        came = newest is not None and newest != before.run
        done = came and status == dg.DagsterRunStatus.SUCCESS
        if done and before.own == found.own and not self._is_lost(asset):
            return None  # a run was there, and left these samples as they are
        if before.attempt >= self.max_attempts:
            return None
        wait = 0.0 if done else self.backoff_seconds * 2 ** (before.attempt - 1)
        if self.now < before.at + wait:
            return None
        return Request(found.saw, found.own, found.run, before.attempt + 1, self.now)

    def _is_lost(self, asset: FeatureAsset) -> bool:
        """Whether the store was put back to a state from before the run."""
        return lost_since(self.store, self.instance, asset.asset_key) is not None

    def _look(
        self,
        asset: FeatureAsset,
        counts: Counts,
        partition: str | None,
        filters: Filters,
    ) -> Request:
        graph, feature = self.store.graph, asset.feature
        upstreams = sorted({dep.upstream.key for dep in graph.plan(feature).deps}, key=str)
        marks: dict[FeatureKey, object] = {}
        if isinstance(filters, Mapping):
            for key in (feature, *upstreams):
                marks |= self.store.newest_commits([key], filters=filters.get(key))
        else:
            marks |= self.store.newest_commits([feature, *upstreams], filters=filters or None)
        told = [f"{key} {marks.get(key)}" for key in upstreams]
        numbers = [str(n) for n in (counts.new, counts.stale, counts.orphaned)]
        saw = hash_parts([graph.feature_version(feature), *numbers, *told])
        planned = self.instance.get_latest_planned_materialization_info(
            asset.asset_key, partition=partition
        )
        run = None if planned is None else planned.run_id
        return Request(saw, str(marks.get(feature)), run, 1, self.now)


def checked_patience(max_attempts: object, backoff_seconds: object) -> None:
    """Refuse numbers of attempts and waiting times that make no sense.

    Raises:
        DefinitionsError: with what is allowed.
    """
    for name, value, least, kinds in (
        ("max_attempts", max_attempts, 1, int),
        ("backoff_seconds", backoff_seconds, 0, int | float),
    ):
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
            raise DefinitionsError(
                f"{name} has a value it cannot have",
                found=repr(value),
                allowed=f"a number of at least {least}",
                remedy="leave it out, or correct it",
            )


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus | None:
    run = instance.get_run_by_id(run_id)
    return None if run is None else run.status


def _is_finished(status: dg.DagsterRunStatus) -> bool:
    return status == dg.DagsterRunStatus.SUCCESS or status in _OVER
