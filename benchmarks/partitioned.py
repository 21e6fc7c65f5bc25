"""Runs of one partition among many, whose keys are days, in a column of text."""

# Annotations are not postponed: Dagster reads that of the context.

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

import metaxy_dagster as mxd
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.events.event_metadata import feature_state
from metaxy_dagster.runtime.partitions.undecided import require_decided

ROWS = 1_000
CHANGED = 10
# Unique ids are read, all of them.
_CHECKED = ["pending", "orphaned", "failed", "schema"]
_FIRST = dt.date(2016, 1, 1)
_DAYS = dg.DailyPartitionsDefinition("2016-01-01", end_date="2026-01-01")
_KEY = "2016-01-08"
_ROOT = {"metaxy/feature": "root", "metaxy/id_columns": ["id"], "partition_by": "day"}
_LEAF = {**_ROOT, "metaxy/feature": "leaf", "metaxy/input": "increment", "metaxy/deps": ["root"]}


def rows(first: int, number: int, changed: int = 0) -> pa.Table:
    """Samples of the partitions from one on."""
    ids = range(first * ROWS, (first + number) * ROWS)
    days = [str(_FIRST + dt.timedelta(days=day)) for day in range(first, first + number)]
    return pa.table(
        {
            "id": pa.array(ids),
            "day": pa.array([days[i // ROWS - first] for i in ids]),
            "path": pa.array([f"{'new' if i % ROWS < changed else 'old'}/{i:09}" for i in ids]),
        }
    )


_BOTH = dg.AssetSelection.assets("root", "leaf")
_JOB = dg.define_asset_job("run", _BOTH.without_checks(), partitions_def=_DAYS)
_CHECKS = dg.define_asset_job(
    "checks",
    dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey("leaf"), one) for one in _CHECKED)),
)


def definitions(store: Any) -> dg.Definitions:
    """Two assets, and their checks."""
    return mxd.metaxify_definitions(
        dg.Definitions(assets=[root, leaf], jobs=[_JOB, _CHECKS]), store=store, checks=_CHECKED
    )


class _Rows:
    """What the root returns: how many of its rows are others than before."""

    changed = 0


@dg.asset(partitions_def=_DAYS, metadata=_ROOT)
def root(context: dg.AssetExecutionContext) -> pa.Table:
    """Samples of a day."""
    day = (dt.date.fromisoformat(context.partition_key) - _FIRST).days
    return rows(day, 1, _Rows.changed)


@dg.asset(partitions_def=_DAYS, metadata=_LEAF)
def leaf(root: pa.Table) -> pa.Table:
    """Samples computed from them."""
    return root.select(["id", "day"])


def fill(store: mxd.DuckDBMetadataStore, number: int, *, by_day: bool) -> None:
    """Write and compute partitions: all at once, or one after the other, as they come."""
    with store.connected("w"):
        for first in range(number) if by_day else (0,):
            day = f"day = '{_FIRST + dt.timedelta(days=first)}'"
            store.write("root", rows(first, 1 if by_day else number))
            chosen = {"root": day, "leaf": day} if by_day else None
            increment = store.resolve_update("leaf", filters=chosen)
            store.write("leaf", increment.new.select("id", "day").collect(), increment=increment)
    store.resolve_update("leaf").counts  # noqa: B018 - as every run does


class Partitioned:
    """A store with so many partitions, all of them computed, and what is done with one."""

    def __init__(self, number: int, folder: Path, made: Path, *, by_day: bool = False) -> None:
        path = folder / "m.duckdb"
        graph = mxd.FeatureGraph()
        graph.add(mxd.FeatureSpec("root", id_columns=["id"]))
        graph.add(mxd.FeatureSpec("leaf", id_columns=["id"], deps=["root"]))
        if not made.exists():
            fill(mxd.DuckDBMetadataStore(made, graph=graph), number, by_day=by_day)
        shutil.copy(made, path)
        self.store = mxd.DuckDBMetadataStore(path, graph=graph)
        self.asset = FeatureAsset.required(leaf.key, _LEAF)
        self.scope = self.asset.scope([_KEY], _DAYS)
        self.filters = self.scope.filters(self.store.schema("leaf"))
        self.by_feature = {"root": self.filters, "leaf": self.filters}
        self._definitions: dg.Definitions | None = None

    @property
    def actions(self) -> list[Callable[[], object]]:
        """What is measured: a resolve, a look for odd values, a read, a write, and so on."""
        return [
            lambda: self.store.resolve_update("leaf", filters=self.by_feature).counts,
            lambda: require_decided(self.store, self.asset.feature, self.scope),
            lambda: self.store.read_table("leaf", filters=self.filters),
            self._write,
            lambda: feature_state(self.store, self.asset.feature, self.scope),
            lambda: self._perform("checks"),
            lambda: self._perform("run"),
            self._run_changed,
            lambda: self.store.resolve_update("leaf").counts,
        ]

    def _write(self) -> object:
        increment = self.store.resolve_update("leaf", filters=self.by_feature, keep_unchanged=True)
        frame = self.store.read_table("leaf", filters=self.filters, columns=["id", "day"])
        return self.store.write("leaf", frame, increment=increment)

    def _perform(self, name: str) -> None:
        made = self._definitions = self._definitions or definitions(self.store.path)
        job, key = made.resolve_job_def(name), _KEY if name == "run" else None
        with dg.DagsterInstance.ephemeral() as instance:
            found = job.execute_in_process(partition_key=key, instance=instance)
        assert found.success  # noqa: S101

    def _run_changed(self) -> None:
        _Rows.changed = (_Rows.changed + CHANGED) % (5 * CHANGED)
        self._perform("run")
