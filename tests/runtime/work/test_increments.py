"""``"metaxy/input": "increment"``: a plain function computes only what is pending."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from feature_runs import IO_MANAGER, Repository, event, feature, images, stored

import metaxy_dagster as mxd

ROWS = {i: (f"p{i}", f"l{i}") for i in range(4)}


@pytest.fixture
def repository() -> Repository:
    return Repository(ROWS)


def tables(store: mxd.DuckDBMetadataStore) -> dict[str, Any]:
    return {key: stored(store, key) for key in ("thumb", "name", "pair")}


def test_inputs_hold_only_what_is_pending(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    assets = repository.assets()
    run(*assets)
    everything = [[*ROWS]]
    assert repository.given == {"thumb": everything, "name": everything, "pair": everything * 2}
    assert tables(store) == repository.expected()
    repository.rows |= {1: ("other", "l1"), 7: ("p7", "l7")}
    result = run(*assets)
    assert repository.given == {"thumb": [[1, 7]], "name": [[7]], "pair": [[1, 7], [1, 7]]}
    assert tables(store) == repository.expected()
    found = event(result, "thumb")
    assert (found["metaxy/new"], found["metaxy/stale"], found["metaxy/orphaned"]) == (1, 1, 0)
    assert (found["metaxy/written"], found["dagster/row_count"]) == (2, 5)


def test_nothing_pending_gives_empty_frames_and_changes_nothing(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    assets = repository.assets()
    run(*assets)
    before = {key: store.data_version(key) for key in ("thumb", "name", "pair")}
    result = run(*assets)
    assert repository.given == {"thumb": [[]], "name": [[]], "pair": [[], []]}
    assert {key: store.data_version(key) for key in before} == before
    assert event(result, "pair")["metaxy/written"] == 0
    assert event(result, "pair")["metaxy/materialized_in_run"] == 0


def test_samples_that_are_not_returned_stay_pending(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    repository.leave_out = {1, 2}
    assets = repository.assets()
    run(*assets)
    assert set(stored(store, "thumb")) == {0, 3}
    assert set(stored(store, "pair")) == {0, 3}
    assert store.resolve_update("thumb").counts == mxd.Counts(new=2, stale=0, orphaned=0)
    repository.leave_out = set()
    run(*assets)
    assert repository.given == {"thumb": [[1, 2]], "name": [[]], "pair": [[1, 2], [1, 2]]}
    assert tables(store) == repository.expected()


def test_a_stale_sample_that_is_not_returned_keeps_its_old_state_and_stays_stale(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    assets = repository.assets()
    run(*assets)
    repository.rows[2] = ("other", "l2")
    repository.leave_out = {2}
    run(*assets)
    assert stored(store, "thumb")[2] == ("P2",)
    assert store.resolve_update("thumb").counts == mxd.Counts(new=0, stale=1, orphaned=0)


def test_orphaned_samples_are_deleted(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    assets = repository.assets()
    run(*assets)
    del repository.rows[3]
    result = run(*assets)
    assert repository.given == {"thumb": [[]], "name": [[]], "pair": [[], []]}
    assert tables(store) == repository.expected()
    assert event(result, "pair")["metaxy/orphaned"] == 1
    assert event(result, "pair")["metaxy/deleted"] == 1


def test_an_upstream_that_moves_during_the_step_is_computed_again_afterwards(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    moved = {**ROWS, 0: ("moved", "l0"), 9: ("p9", "l9")}
    repository.meanwhile = lambda: store.write("image", images(moved)) and None
    run(*repository.assets())
    assert stored(store, "thumb")[0] == ("P0",)
    assert store.resolve_update("thumb").counts == mxd.Counts(new=1, stale=1, orphaned=0)
    repository.meanwhile = lambda: None
    repository.rows = moved
    run(*repository.assets())
    assert repository.given["thumb"] == [[0, 9]]
    assert tables(store) == repository.expected()


def test_a_new_code_version_makes_exactly_its_samples_stale(
    run: Callable[..., Any],
    resources: dict[str, Any],
    store: mxd.DuckDBMetadataStore,
    repository: Repository,
) -> None:
    run(*repository.assets())
    graph = mxd.FeatureGraph()
    for key in store.graph:
        spec = store.graph[key]
        if str(key) == "name":
            fields = [field.model_copy(update={"code_version": "2"}) for field in spec.fields]
            spec = spec.model_copy(update={"fields": tuple(fields)})
        graph.add(spec)
    bumped = store.with_graph(graph)
    manager = mxd.MetaxyIOManager(store=bumped)
    repository.given = {}
    run(*repository.assets(), resources={"store": bumped, "metaxy_io_manager": manager})
    assert repository.given == {"thumb": [[]], "name": [[*ROWS]], "pair": [[*ROWS]] * 2}


def test_in_all_mode_inputs_hold_everything_and_the_result_is_the_whole_state(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    assets = repository.assets("all")
    run(*assets)
    repository.rows |= {1: ("other", "l1")}
    del repository.rows[0]
    result = run(*assets)
    assert repository.given["thumb"] == [[1, 2, 3]]
    assert tables(store) == repository.expected()
    found = event(result, "thumb")
    assert (found["metaxy/written"], found["metaxy/unchanged"]) == (1, 2)
    for key in ("thumb", "name", "pair"):
        assert store.resolve_update(key).counts == mxd.Counts(0, 0, 0)


def test_results_in_all_mode_are_stamped_with_what_was_read(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    moved = {**ROWS, 0: ("moved", "l0")}
    repository.meanwhile = lambda: store.write("image", images(moved)) and None
    run(*repository.assets("all"))
    assert store.resolve_update("thumb").counts == mxd.Counts(new=0, stale=1, orphaned=0)


def test_several_inputs_are_consistent_with_each_other(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, repository: Repository
) -> None:
    """An upstream that is written between the loading of two inputs shows in neither."""
    run(*repository.assets()[:3])
    seen: dict[str, set[int]] = {}

    class Meddling(mxd.MetaxyIOManager):
        def load_input(self, context: dg.InputContext) -> Any:
            found = super().load_input(context)
            thumbs = store.read("thumb").collect("pyarrow").to_native()
            names = store.read("name").collect("pyarrow").to_native()
            store.write("thumb", thumbs.slice(0, 3), mode="replace")
            store.write("name", names.slice(0, 3), mode="replace")
            return found

    @dg.asset(**feature("pair", input="increment"))
    def pair(thumb: pl.DataFrame, name: pl.DataFrame) -> pl.DataFrame:
        seen.update(thumb=set(thumb["id"]), name=set(name["id"]))
        return thumb.join(name, on="id").select("id", pair=pl.col("thumb"))

    run(
        *repository.assets()[:3],
        pair,
        only=["pair"],
        resources={"metaxy_io_manager": Meddling(store=store)},
    )
    assert seen == {"thumb": set(ROWS), "name": set(ROWS)}


def test_several_outputs_are_resolved_as_of_one_moment(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    """Nobody can write between two resolves."""
    meddler = mxd.DuckDBMetadataStore(store.path, graph=store.graph)

    class Meddling(mxd.DuckDBMetadataStore):
        def resolve_update(self, feature: Any, **options: Any) -> mxd.Increment:
            found = super().resolve_update(feature, **options)
            with pytest.raises(mxd.StoreError, match="only reads"):
                meddler.write("image", images({9: ("p9", "l9")}))
            return found

    outs = {key: dg.AssetOut(**feature(key, input="increment")) for key in ("thumb", "name")}

    @dg.multi_asset(outs=outs)
    def both(image: pl.DataFrame):
        yield dg.Output(image.select("id", thumb="pixels"), "thumb")
        yield dg.Output(image.select("id", name="label"), "name")

    store.write("image", images(ROWS))
    meddling = Meddling(store.path, graph=store.graph)
    manager = mxd.MetaxyIOManager(store=meddling)
    image = dg.AssetSpec("image", metadata={"metaxy/feature": "image"})
    run(
        image.with_io_manager_key(IO_MANAGER),
        both,
        resources={IO_MANAGER: manager},
    )
    assert set(stored(store, "thumb")) == set(stored(store, "name")) == set(ROWS)


def test_a_retried_step_resolves_anew(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    given: list[list[int]] = []

    @dg.asset(**feature("thumb", input="increment"), retry_policy=dg.RetryPolicy(max_retries=1))
    def thumb(image: pl.DataFrame) -> pl.DataFrame:
        given.append(sorted(image["id"]))
        if len(given) == 1:
            store.write("image", images({**ROWS, 8: ("p8", "l8")}))
            message = "the first time fails"
            raise RuntimeError(message)
        return image.select("id", thumb="pixels")

    repository = Repository(ROWS)
    run(repository.assets()[0], thumb)
    assert given == [[0, 1, 2, 3], [0, 1, 2, 3, 8]]
    assert set(stored(store, "thumb")) == {0, 1, 2, 3, 8}


@pytest.mark.parametrize("modes", [("increment", "increment"), ("increment", "all")])
def test_a_multi_asset_with_two_features(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, modes: tuple[str, str]
) -> None:
    given: list[list[int]] = []
    repository = Repository(ROWS)
    outs = {
        key: dg.AssetOut(**feature(key, input=mode))
        for key, mode in zip(("thumb", "name"), modes, strict=True)
    }

    @dg.multi_asset(outs=outs)
    def both(image: pl.DataFrame):
        given.append(sorted(image["id"]))
        yield dg.Output(image.select("id", thumb=pl.col("pixels").str.to_uppercase()), "thumb")
        yield dg.Output(image.select("id", name=pl.col("label").str.to_uppercase()), "name")

    assets = [repository.assets()[0], both]
    run(*assets)
    repository.rows |= {1: ("other", "l1"), 2: ("p2", "other"), 5: ("p5", "l5")}
    run(*assets)
    assert given == [[0, 1, 2, 3], [1, 2, 5] if modes[1] == "increment" else [0, 1, 2, 3, 5]]
    expected = repository.expected()
    assert stored(store, "thumb") == expected["thumb"]
    assert stored(store, "name") == expected["name"]
    assert store.resolve_update("thumb").counts.pending == 0
    assert store.resolve_update("name").counts.pending == 0


def test_one_output_of_a_subsettable_multi_asset(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    outs = {
        key: dg.AssetOut(**feature(key, input="increment"), is_required=False)
        for key in ("thumb", "name")
    }

    @dg.multi_asset(outs=outs, can_subset=True)
    def both(context, image: pl.DataFrame):
        if "thumb" in context.op_execution_context.selected_output_names:
            yield dg.Output(image.select("id", thumb="pixels"), "thumb")
        if "name" in context.op_execution_context.selected_output_names:
            yield dg.Output(image.select("id", name="label"), "name")

    image = Repository(ROWS).assets()[0]
    run(image, both, only=["image", "thumb"])
    assert [str(key) for key in store.features()] == ["image", "thumb"]
    run(image, both)
    assert store.count("name") == 4


def test_a_graph_asset(run: Callable[..., Any], store: mxd.DuckDBMetadataStore) -> None:
    """Its first op loads the pending samples, its last one returns what is written."""
    given: list[list[int]] = []

    @dg.op
    def shrink(image: pl.DataFrame) -> pl.DataFrame:
        given.append(sorted(image["id"]))
        return image.select("id", thumb="pixels")

    @dg.op(out=dg.Out(io_manager_key="metaxy_io_manager"))
    def finish(shrunk: pl.DataFrame) -> pl.DataFrame:
        return shrunk.with_columns(pl.col("thumb").str.to_uppercase())

    @dg.graph_asset(metadata=feature("thumb", input="increment")["metadata"])
    def thumb(image):
        return finish(shrink(image))

    repository = Repository(ROWS)
    assets = [repository.assets()[0], thumb]
    run(*assets)
    repository.rows |= {1: ("other", "l1")}
    run(*assets)
    assert given == [[0, 1, 2, 3], [1]]
    assert stored(store, "thumb") == repository.expected()["thumb"]
