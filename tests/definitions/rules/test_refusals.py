"""What every run would refuse, the plan refuses; what does nothing is said."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from pydantic import Field

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
ROWS = pl.DataFrame({"id": [1, 2]})


def keys(feature="x", **more):
    given = {name.replace("__", "/"): value for name, value in more.items()}
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **given}


@dg.asset(metadata=keys("raw"))
def raw() -> pl.DataFrame:
    return ROWS


@dg.asset
def plain() -> pl.DataFrame:
    return ROWS


@dg.asset(io_manager_key="mine", metadata=keys("apart"))
def apart() -> pl.DataFrame:
    return ROWS


def made(body=None, name="x", **options):
    """The asset ``x``; by default it takes ``raw``."""

    def takes_raw(raw: pl.DataFrame) -> pl.DataFrame:
        return raw

    return dg.asset(name=name, **options)(body or takes_raw)


def alone() -> pl.DataFrame:
    return ROWS


def of_plain(plain: pl.DataFrame) -> pl.DataFrame:
    return plain


def of_apart(apart: pl.DataFrame) -> pl.DataFrame:
    return apart


def nothing():
    ROWS.head()


def nothing_of_raw(raw: pl.DataFrame) -> None:
    raw.head()


def with_store(store: dg.ResourceParam[mxd.MetadataStore]) -> pl.DataFrame:
    return ROWS


def with_warehouse(warehouse: dg.ResourceParam[str]) -> pl.DataFrame:
    return ROWS


def asks_by_itself() -> pl.DataFrame:
    return mxd.DuckDBMetadataStore("x").resolve_update("x").new


def writes_plain(raw: pl.DataFrame, store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    if raw.height:
        store.write("x", raw)


def writes_unannotated(raw: pl.DataFrame, store: dg.ResourceParam[mxd.MetadataStore]):
    if raw.height:
        store.write("x", raw)


def writes_pending(raw: pl.DataFrame, store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    increment = store.resolve_update("x")
    if raw.height:
        store.write("x", raw, increment=increment)


def reports_empty(raw: pl.DataFrame) -> None:
    if raw.height:
        mxd.report_empty(raw.select("id"))


def asks_and_writes(store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    increment = store.resolve_update("x")
    store.write("x", increment.pending.collect().to_native().select(["id"]), increment=increment)


INCREMENT = {"metaxy__input": "increment"}
ON_RAW = {"metaxy__deps": ["raw"]}


def both(mode, deps=("a",), **options):
    outs = {
        "a": dg.AssetOut(metadata=keys("a", metaxy__deps=["raw"], metaxy__input=mode)),
        "x": dg.AssetOut(metadata=keys("x", metaxy__deps=["raw", *deps], metaxy__input=mode)),
    }

    @dg.multi_asset(outs=outs, **options)
    def pair(raw: pl.DataFrame):
        return raw, raw

    return pair


#: The asset, and parts of its fault.
FAULTS = {
    "increment of a root": (
        lambda: made(alone, metadata=keys(**INCREMENT)),
        ("does nothing", "no upstream feature", '"metaxy/feature"', 'remove "metaxy/input"'),
    ),
    "increment over no feature": (
        lambda: made(of_plain, metadata=keys(**INCREMENT)),
        ("does nothing", "no upstream feature", '"metaxy/deps"'),
    ),
    "increment over deps only": (
        lambda: made(alone, metadata=keys(**INCREMENT, **ON_RAW)),
        ("does nothing", "no argument", "an asset of raw"),
    ),
    "increment past the IO manager": (
        lambda: made(metadata=keys(**INCREMENT), io_manager_key="mine"),
        ("bypasses", "'mine'", "drop the asset's own IO manager"),
    ),
    "increment past the IO manager by a resource": (
        lambda: made(metadata=keys(**INCREMENT), resource_defs={"io_manager": dg.mem_io_manager}),
        ("bypasses", "'io_manager'", "io_routing"),
    ),
    "increment over what another IO manager loads": (
        lambda: made(of_apart, metadata=keys(**INCREMENT)),
        ("does nothing", "loaded by another IO manager", "an asset of apart"),
    ),
    "increment through an input manager": (
        lambda: made(metadata=keys(**INCREMENT), ins={"raw": dg.AssetIn(input_manager_key="mine")}),
        ("does nothing", "loaded by another IO manager"),
    ),
    "deps only": (
        lambda: made(alone, deps=[raw], metadata=keys()),
        ("provenance", "no argument", '"store"', '"metaxy/deps": []'),
    ),
    "deps only, and an argument of another": (
        lambda: made(of_plain, deps=[raw], metadata=keys()),
        ("provenance", "plain (loaded by another IO manager, or no feature)"),
    ),
    "deps of the multi-asset itself": (
        lambda: both("increment"),
        ("the same multi-asset", "one op makes a and x"),
    ),
    "deps of the multi-asset itself, of all samples": (lambda: both("all"), ("same multi-asset",)),
    "partition_by without partitions": (
        lambda: made(metadata=keys(partition_by="day")),
        ("for assets with partitions", "'day'", "partitions_def"),
    ),
    "no declaration": (
        lambda: made(metadata={"metaxy/feature": "x"}),
        ("nothing declares the feature", '"metaxy/id_columns": ["<column>"]', "'raw'"),
    ),
    "a misspelt feature": (
        lambda: made(metadata={"metaxy/feature": "rwa"}),
        ("did you mean 'raw'?",),
    ),
    "an upstream that is no feature": (
        lambda: made(of_plain, metadata=keys(metaxy__deps=["plain"])),
        ('set metadata "metaxy/feature": "plain"', "on the asset 'plain'"),
    ),
    "lineage in keys": (
        lambda: made(metadata=keys() | {"metaxy/id_columns": ["other"]}),
        ('"lineage": {"type": "aggregation", "on": [...]}',),
    ),
}
RESOURCES = {"mine": dg.mem_io_manager, "warehouse": "w"}


def plan_of(*assets, **options):
    defs = dg.Definitions(assets=[raw, plain, apart, *assets], resources=RESOURCES)
    return mxd.plan_definitions(defs, features=[], **options)


@pytest.mark.parametrize("kind", FAULTS)
def test_what_no_run_could_do_is_one_fault(kind):
    make, parts = FAULTS[kind]
    (error,) = plan_of(make()).errors
    assert error.asset == "x"
    assert error.feature in ("x", "rwa")
    assert error.remedy
    assert all(part in str(error) for part in parts), error
    assert "FeatureGraph" not in str(error)
    assert "LineageRelationship" not in str(error)


#: Assets that a run may well do, and what is said of some of them.
FINE = {
    "takes its upstream": (lambda: made(metadata=keys()), None),
    "takes its pending samples": (lambda: made(metadata=keys(**INCREMENT)), None),
    "returns nothing": (lambda: made(nothing, deps=[raw], metadata=keys()), None),
    "takes the store": (lambda: made(with_store, deps=[raw], metadata=keys()), None),
    "asks a store": (lambda: made(asks_by_itself, deps=[raw], metadata=keys()), None),
    "takes another resource": (
        lambda: made(with_warehouse, deps=[raw], metadata=keys()),
        "none of its arguments is an upstream feature",
    ),
    "can be split": (lambda: both("all", can_subset=True), "run them one after the other"),
    "two of one op": (lambda: both("all", deps=()), None),
    "only a spec, with an increment": (
        lambda: dg.AssetSpec("x", metadata=keys(**INCREMENT, **ON_RAW)),
        "no function of this repository",
    ),
    "only a spec, with partition_by": (
        lambda: dg.AssetSpec("x", metadata=keys(partition_by="day")),
        "the asset has no partitions",
    ),
    "another IO manager's partition_by": (
        lambda: made(alone, io_manager_key="mine", metadata=keys(partition_by="day")),
        None,
    ),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_a_run_may_do_is_no_fault(kind):
    make, said = FINE[kind]
    plan = plan_of(make())
    assert plan.errors == ()
    about = [n.message for n in plan.notices if n.asset in ("x", "a, x") and n.kind != "body"]
    about += [n.message for n in plan.notices if "argument" in n.message or "split" in n.message]
    about += [n.message for n in plan.notices if "run them" in n.message]
    assert any(said in message for message in about) if said else about == []


#: Functions that return nothing: what the plan says of them, and whether a run succeeds.
OWN_WRITES = {
    "pending samples, plain": (writes_plain, INCREMENT, "without the increment", False),
    "pending samples, unannotated": (writes_unannotated, INCREMENT, "without the increment", False),
    "pending samples, with their increment": (writes_pending, INCREMENT, None, True),
    "pending samples that yield nothing": (reports_empty, INCREMENT, None, True),
    "pending samples, not written": (nothing_of_raw, INCREMENT, "they stay pending", True),
    "an increment of its own": (asks_and_writes, {**INCREMENT, **ON_RAW}, "remove it", True),
    "all samples, plain": (writes_plain, {}, "what its function writes itself is refused", False),
    "all samples, with an increment": (writes_pending, {}, None, True),
    "all samples, not written": (nothing_of_raw, {}, None, True),
}


@pytest.mark.parametrize("kind", OWN_WRITES)
def test_what_functions_write_themselves_is_told_as_a_run_finds_it(instance, kind):
    body, given, said, succeeds = OWN_WRITES[kind]
    deps = [raw] if body is asks_and_writes else None
    legacy = dg.Definitions(assets=[raw, made(body, deps=deps, metadata=keys(**given))])
    plan = mxd.plan_definitions(legacy, features=[])
    assert plan.errors == ()
    about = [n.message for n in plan.notices if n.asset == "x" and "its body also" not in n.message]
    assert [said in message for message in about] == ([True] if said else [])
    store = mxd.DuckDBMetadataStore(f"{instance.storage_directory()}/m.duckdb")
    with mxd.FeatureGraph().use():
        defs = mxd.metaxify_definitions(legacy, features=[], store=store)
        job = defs.resolve_implicit_global_asset_job_def()
    if succeeds:
        assert job.execute_in_process(instance=instance).success
    else:
        with pytest.raises(mxd.FrameError, match="provenance of these rows is unknown"):
            job.execute_in_process(instance=instance)


def test_groups_by_a_column_that_one_upstream_lacks():
    lineage = {"type": "aggregation", "on": ["video"]}
    deps = [{"feature": name, "lineage": lineage} for name in ("frames", "notes")]
    videos = mxd.FeatureSpec("videos", id_columns=["video"], deps=deps)
    frames = mxd.FeatureSpec("frames", id_columns=["video", "frame"])

    def found(extra, **column):
        with mxd.FeatureGraph().use() as graph:
            graph.add(frames)
            graph.add(videos)

            class Notes(mxd.BaseFeature, spec=mxd.FeatureSpec("notes", id_columns=["note"])):
                model_config = {"extra": extra}  # noqa: RUF012 - pydantic's own
                note: int
                video_: int = Field(0, alias=column.get("alias", "clip"))

        spec = dg.AssetSpec("videos", metadata={"metaxy/feature": "videos"})
        plan = mxd.plan_definitions(dg.Definitions(assets=[spec]), features=graph)
        told = [n.message for n in plan.notices if "groups 'notes' by 'video'" in n.message]
        return [str(error) for error in plan.errors], told

    (error,), told = found("forbid")
    assert "upstream 'notes' has no column to group by" in error
    assert "clip, note" in error
    assert told == []
    errors, (said,) = found("ignore")
    assert errors == []
    assert "has to have this column" in said
    assert found("forbid", alias="video") == ([], [])


def test_keys_that_nobody_declares_are_looked_for_among_the_other_upstreams(instance):
    deps = [
        {"feature": name, "lineage": {"type": "aggregation", "on": ["video"]}}
        for name in ("frames", "notes")
    ]

    @dg.asset(metadata={"metaxy/feature": "frames", "metaxy/id_columns": ["video", "frame"]})
    def frames() -> pl.DataFrame:
        return pl.DataFrame({"video": [1], "frame": [1]})

    @dg.asset(metadata={"metaxy/feature": "notes", "metaxy/id_columns": ["note"]})
    def notes() -> pl.DataFrame:
        return pl.DataFrame({"note": [1]})

    videos_keys = {
        "metaxy/feature": "videos",
        "metaxy/id_columns": ["video"],
        "metaxy/deps": deps,
    }

    @dg.asset(metadata=videos_keys)
    def videos(frames: pl.DataFrame, notes: pl.DataFrame) -> pl.DataFrame:
        return frames.select("video").unique()

    legacy = dg.Definitions(assets=[frames, notes, videos])
    (said,) = (n for n in mxd.plan_definitions(legacy).notices if n.asset == "videos")
    assert "groups 'notes' by 'video'" in said.message
    defs = mxd.metaxify_definitions(legacy, store=f"{instance.storage_directory()}/m.duckdb")
    job = defs.resolve_implicit_global_asset_job_def()
    with pytest.raises(mxd.FeatureError, match="'notes' has no column to group by"):
        job.execute_in_process(instance=instance)
