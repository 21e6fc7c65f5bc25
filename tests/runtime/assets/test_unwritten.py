"""What Dagster knows and this store never got is no empty feature."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, event, feature, images, stored

import metaxy_dagster as mxd

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}
DAYS = dg.StaticPartitionsDefinition(["l0", "l1", "l2", "l3"])
BY = {"partition_by": "label"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One of its own for each test: what it knows is what is asked here."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@dg.asset(**feature("image"))
def image():
    return images(ROWS)


def before(instance: dg.DagsterInstance, *partitions: str | None) -> None:
    """What an IO manager of the time before the retrofit has left behind."""
    for partition in partitions or (None,):
        event = dg.AssetMaterialization("image", partition=partition)
        instance.report_runless_asset_event(event)


def derived(mode: str, **options: Any) -> dg.AssetsDefinition:
    by = BY if options else {}

    @dg.asset(**feature("thumb", input=mode, **by), **options)
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        return image.select("id", "label", thumb="pixels")

    return thumb


def plain() -> dg.AssetsDefinition:
    @dg.asset
    def report(image: pl.DataFrame) -> None: ...

    return report


def two_inputs() -> dg.AssetsDefinition:
    @dg.asset(**feature("pair", input="increment"))
    def pair(thumb: pl.DataFrame, name: pl.DataFrame) -> pl.DataFrame:
        return thumb.select("id")

    return pair


def without_the_parameter() -> dg.AssetsDefinition:
    """``name`` is an upstream of the feature, but no argument of the function."""

    @dg.asset(**feature("pair", input="increment"), deps=["name"])
    def pair(thumb: pl.DataFrame) -> pl.DataFrame:
        return thumb.select("id")

    return pair


def skipped() -> dg.AssetsDefinition:
    """As the pass leaves it: the body does not run where nothing is pending."""
    from metaxy_dagster.runtime.work.skipping import skipping_op  # noqa: PLC0415

    asset = derived("increment")
    attributes = {**asset.get_attributes_dict(), "node_def": skipping_op(asset.op)}
    return dg.AssetsDefinition.dagster_internal_init(**attributes)


def external(key: str) -> dg.AssetSpec:
    return dg.AssetSpec(key, metadata={"metaxy/feature": key}).with_io_manager_key(IO_MANAGER)


LOADS: dict[str, tuple[Callable[[], dg.AssetsDefinition], str]] = {
    "increment": (lambda: derived("increment"), "image"),
    "all": (lambda: derived("all"), "image"),
    "plain downstream": (plain, "image"),
    "body left out": (skipped, "image"),
    "several inputs": (two_inputs, "name"),
    "an upstream without a parameter": (without_the_parameter, "name"),
}


@pytest.mark.parametrize("known", [True, False], ids=["materialized", "unknown"])
@pytest.mark.parametrize("load", LOADS)
def test_every_load(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    instance: dg.DagsterInstance,
    load: str,
    *,
    known: bool,
) -> None:
    make, missing = LOADS[load]
    if missing == "name":
        store.write("image", images(ROWS))
        store.write("thumb", store.resolve_update("thumb").pending)
    asset = make()
    upstreams = [external(key) for key in ("image", "thumb", "name") if key != asset.key.path[0]]
    if known:
        instance.report_runless_asset_event(dg.AssetMaterialization(missing))
        with pytest.raises(mxd.RunError, match="never written to this store") as caught:
            run(*upstreams, asset, only=[asset])
        assert f"asset '{missing}', feature '{missing}'" in str(caught.value)
        assert "run the asset itself" in str(caught.value.remedy)
        assert f'store.adopt("{missing}"' in str(caught.value.remedy)
        assert [str(key) for key in store.features()] == (
            ["image", "thumb"] if missing == "name" else []
        )
        return
    result = run(*upstreams, asset, only=[asset])
    said = warnings_of(instance, result)
    assert [missing in one for one in said] == ([] if load.startswith("an upstream") else [True])


def warnings_of(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[str]:
    """What a run warned of."""
    found = instance.all_logs(result.run_id)
    return [one.user_message for one in found if one.level >= 30]


def test_written_once_it_is_fine_again(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    before(instance)
    result = run(image, derived("increment"))
    assert event(result, "thumb")["dagster/row_count"] == 4
    assert warnings_of(instance, result) == []
    store.write("image", images({9: ("p9", "l9")}))
    assert event(run(image, derived("increment"), only=["thumb"]), "thumb")["metaxy/new"] == 1


def test_a_feature_of_no_rows_that_was_materialized_here_is_empty(
    run: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    @dg.asset(**feature("image"))
    def image():
        return images({})

    result = run(image, derived("increment"))
    assert event(result, "thumb")["dagster/row_count"] == 0
    assert warnings_of(instance, result) == []


RANGE = {"dagster/asset_partition_range_start": "l0", "dagster/asset_partition_range_end": "l3"}


@pytest.mark.parametrize("mode", ["increment", "all"])
@pytest.mark.parametrize(
    ("known", "options", "missing"),
    [
        ([], {"partition_key": "l1"}, None),
        (["l1"], {"partition_key": "l1"}, "l1"),
        (["l2"], {"partition_key": "l1"}, None),
        (["l0"], {"partition_key": "l0"}, None),
        (["l0", "l1", "l3"], {"tags": RANGE}, "l1, l3"),
        ([], {"tags": RANGE}, None),
    ],
    ids=["unknown", "known", "another", "written since", "in a range", "unknown range"],
)
def test_partitions_that_were_never_written(  # noqa: PLR0917 - a row of the table
    run: Callable[..., Any],
    instance: dg.DagsterInstance,
    mode: str,
    known: Sequence[str],
    options: dict[str, Any],
    missing: str | None,
) -> None:
    """The feature is in the store; some of its partitions were made by the old IO manager."""
    if known:
        before(instance, *known)

    @dg.asset(partitions_def=DAYS, **feature("image", **BY))
    def image(context: dg.AssetExecutionContext):
        return images({i: row for i, row in ROWS.items() if row[1] == context.partition_key})

    thumb = derived(mode, partitions_def=DAYS)
    run(image, partition_key="l0")
    if missing is None:
        run(image, thumb, only=[thumb], **options)
        return
    with pytest.raises(mxd.RunError, match="never written to this store") as caught:
        run(image, thumb, only=[thumb], **options)
    assert f"partitions {missing} of the feature" in str(caught.value)


@pytest.mark.parametrize("known", [True, False])
def test_all_partitions_at_once(
    run: Callable[..., Any], instance: dg.DagsterInstance, *, known: bool
) -> None:
    if known:
        before(instance, "l2")

    @dg.asset(partitions_def=DAYS, **feature("image", **BY))
    def image(context: dg.AssetExecutionContext):
        return images({i: row for i, row in ROWS.items() if row[1] == context.partition_key})

    run(image, partition_key="l0")
    report = plain()
    if not known:
        run(image, report, only=[report])
        return
    with pytest.raises(mxd.RunError, match="partitions l2 of the feature"):
        run(image, report, only=[report])


def test_a_partition_without_samples_is_no_missing_one(
    run: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    @dg.asset(partitions_def=DAYS, **feature("image", **BY))
    def image(context: dg.AssetExecutionContext):
        return images({} if context.partition_key == "l1" else {0: ROWS[0]})

    for key in ("l0", "l1"):
        run(image, partition_key=key)
    thumb = derived("increment", partitions_def=DAYS)
    result = run(image, thumb, only=[thumb], partition_key="l1")
    assert warnings_of(instance, result) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_check_says_it(
    store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance, *, known: bool
) -> None:
    if known:
        before(instance)
    assets = [image, derived("increment")]
    made = mxd.build_feature_checks(assets, names=["pending"])
    resources = {"store": store, IO_MANAGER: mxd.MetaxyIOManager(store=store)}
    defs = dg.Definitions(assets=assets, asset_checks=made, resources=resources)
    job = defs.resolve_implicit_global_asset_job_def()
    key = dg.AssetCheckKey(dg.AssetKey("thumb"), "pending")
    selected = dg.AssetSelection.checks(key)
    job = dg.Definitions(
        assets=assets,
        asset_checks=made,
        resources=resources,
        jobs=[dg.define_asset_job("look", selection=selected)],
    ).resolve_job_def("look")
    (found,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert found.passed is not known
    assert ("image was never written to this store" in str(found.description)) is known


STATES = {
    "untouched": lambda path, backup: None,
    "deleted": lambda path, backup: path.unlink(),
    "put back": lambda path, backup: shutil.copy(backup, path),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("meanwhile", [False, True], ids=["", "written since"])
def test_a_store_that_was_lost_is_said_once(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    state: str,
    *,
    meanwhile: bool,
) -> None:
    rows = dict(ROWS)

    @dg.asset(**feature("image", write="upsert"))
    def image():
        return images(rows)

    run(image)
    backup = tmp_path / "backup"
    shutil.copy(store.path, backup)
    rows[7] = ("p7", "l7")
    assert warnings_of(instance, run(image)) == []
    STATES[state](store.path, backup)
    if meanwhile:
        # Numbers of commits that are given again tell nothing.
        for number in range(3):
            store.write("image", images({100 + number: ("p", "l")}))
    said = warnings_of(instance, run(image))
    assert ["which this store does not have" in one for one in said] == (
        [] if state == "untouched" else [True]
    )
    assert warnings_of(instance, run(image)) == []
    assert 7 in stored(store, "image")


def resolving(store: mxd.DuckDBMetadataStore) -> dg.AssetsDefinition:
    @dg.asset(**feature("thumb"), deps=["image"])
    def thumb():
        return store.resolve_update("thumb").pending.collect().to_polars()

    return thumb


def writing(store: mxd.DuckDBMetadataStore) -> dg.AssetsDefinition:
    @dg.asset(**feature("thumb"), deps=["image"])
    def thumb(context: dg.AssetExecutionContext):
        store.write("thumb", store.resolve_update("thumb").pending)
        yield from mxd.generate_materialize_results(context, store)

    return thumb


@pytest.mark.parametrize("make", [resolving, writing])
def test_a_function_that_reads_its_upstream_itself_is_told(
    run: Callable[..., Any],
    store: mxd.DuckDBMetadataStore,
    instance: dg.DagsterInstance,
    make: Callable[..., dg.AssetsDefinition],
) -> None:
    before(instance)
    asset = make(store)
    (said,) = warnings_of(instance, run(external("image"), asset, only=[asset]))
    assert "Feature image was never written to this store" in said
    assert "run it, or write" in said
    store.write("image", images(ROWS))
    result = run(external("image"), asset, only=[asset])
    assert warnings_of(instance, result) == []
    assert event(result, "thumb")["dagster/row_count"] == 4
