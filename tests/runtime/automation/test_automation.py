"""Checks and a sensor: they count, and nothing more."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import narwhals as nw
import pytest
from feature_runs import Repository, images

import metaxy_dagster as mxd

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}


def evaluate(
    checks: list[dg.AssetChecksDefinition], store: mxd.DuckDBMetadataStore, **options: Any
) -> dict[str, dg.AssetCheckEvaluation]:
    defs = dg.Definitions(asset_checks=checks, resources={"store": store})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=True, **options)
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def checks(key: str, **options: Any) -> list[dg.AssetChecksDefinition]:
    spec = dg.AssetSpec(key, metadata={"metaxy/feature": key})
    return mxd.build_feature_checks([spec, dg.AssetSpec("plain")], **options)


def test_a_feature_that_is_as_it_should_be_passes(store: mxd.DuckDBMetadataStore) -> None:
    store.write("image", images(ROWS))
    store.write("thumb", store.resolve_update("thumb").pending)
    for key in ("image", "thumb", "pair"):
        found = evaluate(checks(key), store)
        assert set(found) == {"pending", "orphaned", "failed", "schema", "unique_ids"}
        assert all(each.passed for each in found.values()), key


def test_what_waits_and_what_is_orphaned_is_counted(store: mxd.DuckDBMetadataStore) -> None:
    store.write("image", images(ROWS))
    store.write("thumb", store.resolve_update("thumb").pending)
    changed = {1: ("other", "l1"), 2: ROWS[2], 3: ROWS[3], 8: ("p8", "l8")}
    store.write("image", images(changed), mode="replace")
    found = evaluate(checks("thumb"), store)
    assert {name for name, each in found.items() if not each.passed} == {"pending", "orphaned"}
    pending = {name: value.value for name, value in found["pending"].metadata.items()}
    assert pending == {"metaxy/new": 1, "metaxy/stale": 1}
    assert found["orphaned"].metadata["metaxy/orphaned"].value == 1
    assert found["pending"].severity == dg.AssetCheckSeverity.WARN


def quarantine(store: mxd.DuckDBMetadataStore, ids: list[int]) -> None:
    """Let samples of ``thumb`` fail until they are tried no more."""
    for _ in range(3):
        increment = store.resolve_update("thumb")
        store.record_failures("thumb", [{"id": i} for i in ids], "torn", increment=increment)


def test_of_quarantined_samples_only_one_check_fails(store: mxd.DuckDBMetadataStore) -> None:
    store.write("image", images(ROWS))
    increment = store.resolve_update("thumb")
    store.write("thumb", increment.pending.filter(nw.col("id") < 2), increment=increment)
    assert not evaluate(checks("thumb"), store)["pending"].passed
    quarantine(store, [2, 3])
    found = evaluate(checks("thumb"), store)
    assert {name for name, each in found.items() if not each.passed} == {"failed"}
    assert "2 samples are not tried any more" in str(found["pending"].description)


def test_columns_that_are_not_declared_fail_the_schema_check(
    store: mxd.DuckDBMetadataStore,
) -> None:
    """The store was written by another version of the declaration."""
    store.write("image", images(ROWS))
    graph = mxd.FeatureGraph()
    fields = [mxd.FieldSpec("pixels", columns=["pixels", "depth"])]
    graph.add(mxd.FeatureSpec("image", id_columns=["id"], fields=fields))
    found = evaluate(checks("image", names=["schema"]), store.with_graph(graph))["schema"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.metadata["missing"].value == ["depth"]


def test_only_the_named_checks_are_made() -> None:
    (made,) = checks("image", names=["orphaned", "orphaned"])
    assert [spec.name for spec in made.check_specs] == ["orphaned"]
    for names in (["fresh"], []):
        with pytest.raises(mxd.DefinitionsError, match="no such check"):
            checks("image", names=names)


def test_checks_run_with_their_assets(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    repository = Repository(ROWS)
    repository.leave_out = {2}
    assets = repository.assets()
    result = run(*assets, *mxd.build_feature_checks(assets, names=["pending"]))
    found = {each.asset_key.path[0]: each for each in result.get_asset_check_evaluations()}
    assert {key: each.passed for key, each in found.items()} == {
        "image": True,
        "thumb": False,
        "name": True,
        "pair": True,
    }
    assert store.count("thumb") == 3


def tick(
    sensor: dg.SensorDefinition,
    store: mxd.DuckDBMetadataStore,
    instance: dg.DagsterInstance,
    cursor: str | None,
) -> tuple[list[str] | None, str | None]:
    """The assets that a tick requests, and its cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"store": store})
    found = sensor.evaluate_tick(context)
    requests = found.run_requests or []
    keys = [key.to_user_string() for each in requests for key in each.asset_selection or ()]
    return keys or None, found.cursor


def test_a_sensor_does_not_ask_for_quarantined_samples(
    store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    assets = Repository(ROWS).assets()
    sensor = mxd.build_pending_sensor([asset for asset in assets if asset.key.path == ["thumb"]])
    store.write("image", images(ROWS))
    quarantine(store, [0, 1, 2])
    assert tick(sensor, store, instance, None)[0] == ["thumb"], "one sample is left"
    quarantine(store, [3])
    assert tick(sensor, store, instance, None)[0] is None
    store.write("image", images({0: ("other", "l0")}))
    assert tick(sensor, store, instance, None)[0] == ["thumb"], "what changed is asked for"


def test_a_sensor_requests_what_is_pending_and_only_once(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    repository = Repository(ROWS)
    assets = repository.assets()
    sensor = mxd.build_pending_sensor(assets)
    keys, cursor = tick(sensor, store, instance, None)
    assert keys is None
    run(*assets, only=["image"])
    keys, cursor = tick(sensor, store, instance, cursor)
    assert keys == ["name", "thumb"]
    keys, cursor = tick(sensor, store, instance, cursor)
    assert keys is None
    run(*assets, only=["name", "thumb"])
    keys, cursor = tick(sensor, store, instance, cursor)
    assert keys == ["pair"]
    run(*assets, only=["pair"])
    keys, cursor = tick(sensor, store, instance, cursor)
    assert keys is None
    repository.rows[0] = ("other", "l0")
    run(*assets, only=["image"])
    keys, cursor = tick(sensor, store, instance, cursor)
    assert keys == ["thumb"]


def test_a_tick_is_bounded(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    repository = Repository(ROWS)
    assets = repository.assets()
    run(*assets, only=["image"])
    few = mxd.build_pending_sensor(assets, name="few", max_assets=1)
    keys, cursor = tick(few, store, instance, None)
    assert keys == ["name"]
    assert tick(few, store, instance, cursor)[0] == ["thumb"]
    slow = mxd.build_pending_sensor(assets, name="slow", max_features=1)
    keys, cursor = tick(slow, store, instance, None)
    assert keys == ["name"]
    assert tick(slow, store, instance, cursor)[0] == ["thumb"]


def test_a_sensor_without_anything_to_watch_is_refused() -> None:
    @dg.asset
    def plain(): ...

    with pytest.raises(mxd.DefinitionsError, match="nothing to watch"):
        mxd.build_pending_sensor([plain])


class CrashError(Exception):
    pass


def test_work_in_batches_goes_on_after_a_crash(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    store.write("image", images({i: (f"p{i}", "l") for i in range(10)}))
    sizes: list[int] = []
    crash = [True]

    @dg.asset(metadata={"metaxy/feature": "thumb"})
    def thumb(context: dg.AssetExecutionContext):
        increment = store.resolve_update("thumb")
        for batch in mxd.each_batch(context, increment, 3):
            if crash and len(sizes) == 2:
                raise CrashError
            frame = batch.pending.collect("pyarrow").to_native()
            sizes.append(frame.num_rows)
            store.write("thumb", frame.drop_columns(["label"]), increment=batch)
        yield from mxd.generate_materialize_results(context, store)

    with pytest.raises(CrashError):
        run(thumb)
    assert store.count("thumb") == 6
    crash.clear()
    run(thumb)
    assert sizes == [3, 3, 3, 1]
    assert store.resolve_update("thumb").counts == mxd.Counts(0, 0, 0)


def test_progress_is_told(store: mxd.DuckDBMetadataStore) -> None:
    class Log:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def info(self, text: str, *values: Any) -> None:
            self.lines.append(text % values)

    class Context:
        log = Log()

    store.write("image", images({i: (f"p{i}", "l") for i in range(4)}))
    seconds = iter([0.0, 2.0, 4.0])
    increment = store.resolve_update("thumb")
    batches = mxd.each_batch(Context, increment, 2, clock=lambda: next(seconds))
    assert [batch.counts.pending for batch in batches] == [2, 2]
    assert Context.log.lines == [
        "feature thumb: 4 samples to compute",
        "feature thumb: 2 of 4 samples (50 %), 1.0 a second, 2 s to go",
        "feature thumb: 4 of 4 samples (100 %), 1.0 a second, 0 s to go",
    ]
    store.write("thumb", increment.pending)
    assert list(mxd.each_batch(Context, store.resolve_update("thumb"))) == []
