"""What arguments get of a feature: by annotation, by default, by partition, by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import dagster as dg
import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import metaxy_dagster as mxd

KEYS = {"metaxy/feature": "raw", "metaxy/id_columns": ["id"]}
SITES = dg.StaticPartitionsDefinition(["s1", "s2", "s3"])


class Own(pd.DataFrame):
    """As frames with a schema are: a subclass."""

    @property
    def _constructor(self):
        return Own


class Named(pl.DataFrame):
    """The same of polars."""


@dg.asset(metadata=KEYS)
def raw() -> pl.DataFrame:
    return pl.DataFrame({"id": [1, 2], "name": ["a", "b"], "blob": ["x", "y"]})


@dg.asset(name="raw", partitions_def=SITES, metadata={**KEYS, "partition_by": "site"})
def by_site(context) -> pl.DataFrame:
    key = context.partition_key
    rows = 0 if key == "s3" else int(key[1])
    return pl.DataFrame({"id": [f"{key}-{n}" for n in range(rows)], "site": [key] * rows})


def tied(*assets, settings=None, **fields):
    defs = dg.Definitions(assets=list(assets), **fields)
    return mxd.plan_definitions(defs, features=[], settings=settings)


def ran(instance, tmp_path, *assets, keys=(None,), **options):
    """Make the first asset, partition by partition, and then the others."""
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=list(assets)),
        features=[],
        store=str(tmp_path / "m.duckdb"),
        **options,
    )
    job = defs.resolve_implicit_global_asset_job_def()
    for key in keys:
        first = [assets[0].key]
        job.execute_in_process(instance=instance, asset_selection=first, partition_key=key)
    rest = [asset.key for asset in assets[1:]]
    job.execute_in_process(instance=instance, asset_selection=rest)


def reader(seen, annotation=None, **options):
    def read(raw) -> None:
        seen.append(raw)

    if annotation is not None:
        read.__annotations__["raw"] = annotation
    return dg.asset(**options)(read)


#: Annotations, and the type of what arrives.
TYPES = {
    "polars": (pl.DataFrame, pl.DataFrame),
    "text": ("pl.DataFrame", pl.DataFrame),
    "pandas": (pd.DataFrame, pd.DataFrame),
    "optional": (Optional[pd.DataFrame], pd.DataFrame),  # noqa: UP045 - as people write it
    "a subclass of pandas": (Own, Own),
    "a subclass of polars": (Named, Named),
}


@pytest.mark.parametrize("kind", TYPES)
def test_an_argument_gets_what_it_is_annotated_with(instance, tmp_path, kind):
    annotation, wanted = TYPES[kind]
    seen = []
    ran(instance, tmp_path, raw, reader(seen, annotation))
    (frame,) = seen
    assert type(frame) is wanted
    assert frame.shape == (2, 3)


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("narwhals", nw.LazyFrame),
        ("polars", pl.DataFrame),
        ("polars_lazy", pl.LazyFrame),
        ("pandas", pd.DataFrame),
        ("pyarrow", pa.Table),
        ("duckdb", duckdb.DuckDBPyRelation),
    ],
)
def test_a_setting_says_what_other_arguments_get(instance, tmp_path, setting, wanted):
    seen = []
    settings = mxd.MetaxifySettings(unannotated=setting)
    ran(
        instance,
        tmp_path,
        raw,
        reader(seen, name="silent"),
        reader(seen, Any, name="anything"),
        reader(seen, object, name="object"),
        settings=settings,
    )
    assert [isinstance(each, wanted) for each in seen] == [True, True, True]


def test_a_setting_that_is_none_of_these_is_refused():
    with pytest.raises(mxd.DefinitionsError, match="unannotated has a value it cannot have"):
        mxd.MetaxifySettings(unannotated="spark")
    with pytest.raises(ValueError, match="one of narwhals"):
        mxd.MetaxyIOManager(store=mxd.DuckDBMetadataStore("x"), unannotated="spark")


def test_a_type_of_dagsters_leaves_the_choice_to_the_annotation(instance, tmp_path):
    seen = []
    own = dg.DagsterType(lambda _, value: isinstance(value, pd.DataFrame), name="Own")

    @dg.asset(ins={"raw": dg.AssetIn(dagster_type=own)})
    def read(raw: pd.DataFrame) -> None:
        seen.append(type(raw))

    ran(instance, tmp_path, raw, read)
    assert seen == [pd.DataFrame]


# ------------------------------------------------------------------------------------ the plan
def unannotated(plan):
    return [(each.asset, each.message) for each in plan.notices if each.kind == "parameter"]


def silent(raw):
    return raw


def in_pandas(raw) -> pd.DataFrame:
    return raw


def by_pandas():
    return pd.DataFrame({"id": [1]})


class PolarsParquetIOManager(dg.IOManager):
    """Named as those of a well-known package."""

    def handle_output(self, context, obj): ...

    def load_input(self, context): ...


PROPOSALS = {
    "its own return": (raw, in_pandas, {}, "raw: pd.DataFrame (as its own return annotation says)"),
    "the upstream's return": (raw, silent, {}, "raw: pl.DataFrame (as raw is annotated to return)"),
    "the upstream's code": (
        dg.asset(name="raw", metadata=KEYS)(by_pandas),
        silent,
        {},
        "raw: pd.DataFrame (the code that makes it uses pandas)",
    ),
    "the IO manager": (
        dg.asset(name="raw", metadata=KEYS)(lambda: None),
        silent,
        {"io_manager": PolarsParquetIOManager()},
        "raw: pl.DataFrame (as the repository's PolarsParquetIOManager loads)",
    ),
    "nothing": (
        dg.asset(name="raw", metadata=KEYS)(lambda: None),
        silent,
        {},
        "raw: pd.DataFrame,",
    ),
}


@pytest.mark.parametrize("kind", PROPOSALS)
def test_the_plan_names_arguments_without_a_type_and_proposes_one(kind):
    source, function, resources, proposal = PROPOSALS[kind]
    routed = mxd.MetaxifySettings(io_routing="route")
    plan = tied(source, dg.asset(name="x")(function), resources=resources, settings=routed)
    ((asset, message),) = unannotated(plan)
    assert asset == "x"
    assert "parameter is not annotated: raw" in message
    assert proposal in message
    chosen = mxd.MetaxifySettings(unannotated="narwhals")
    defs = dg.Definitions(assets=[source, dg.asset(name="x")(function)], resources=resources)
    assert unannotated(mxd.plan_definitions(defs, features=[], settings=chosen)) == []
    # What is loaded by the same IO manager already is nothing new.
    assert unannotated(mxd.plan_definitions(plan.apply(), features=[])) == []


def test_arguments_of_graphs_and_checks_are_named_too():
    @dg.op
    def look(frame):
        return frame

    @dg.graph
    def inner(frame):
        return look.alias("again")(frame)

    @dg.graph_asset
    def x(raw):
        return inner(raw)

    @dg.asset_check(asset="raw")
    def fine(raw) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    found = dict(unannotated(tied(raw, x, asset_checks=[fine])))
    assert "not annotated: frame of look" in found["x"]
    assert "not annotated: raw" in found["raw:fine"]


def test_what_others_load_is_not_named():
    @dg.asset
    def plain():
        return 1

    @dg.asset(ins={"raw": dg.AssetIn(input_manager_key="mine")})
    def x(raw, plain):
        return raw

    plan = tied(raw, plain, x, resources={"mine": dg.mem_io_manager})
    assert (unannotated(plan), plan.errors) == ([], ())


@pytest.mark.parametrize(
    ("source", "annotation", "found"),
    [
        (raw, dict, "a dict of frames is for assets with partitions"),
        (raw, dict[str, pl.DataFrame], "a dict of frames is for assets with partitions"),
        (raw, list[pl.DataFrame], "a list of frames is for assets with partitions"),
        (raw, int, "no frame can be made of this type"),
        (raw, pl.Series, "no frame can be made of this type"),
        (by_site, dict[str, int], "no frame can be made of this type"),
    ],
)
def test_a_type_that_cannot_be_loaded_is_a_fault(source, annotation, found):
    (error,) = tied(source, reader([], annotation, name="x")).errors
    assert "cannot be loaded as" in error.problem
    assert (error.asset, error.feature) == ("x", "raw")
    assert found in error.found
    assert "polars.DataFrame" in error.allowed


# ------------------------------------------------------------------------------- by partition
def known_to_dagster(annotation):
    # Dagster 1.11 refuses some annotations before the pass sees them.
    try:
        dg.In(annotation)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


MAPPINGS = (dict[str, pl.DataFrame], dict, Mapping[str, pl.DataFrame])
SEQUENCES = (list[pd.DataFrame], Sequence[pd.DataFrame])


@pytest.mark.parametrize("annotation", [*filter(known_to_dagster, MAPPINGS)])
def test_a_dictionary_has_a_frame_per_partition(instance, tmp_path, annotation):
    seen = []
    settings = mxd.MetaxifySettings(unannotated="polars")
    keys = ("s1", "s2", "s3")
    ran(instance, tmp_path, by_site, reader(seen, annotation), keys=keys, settings=settings)
    (frames,) = seen
    assert {key: len(frame) for key, frame in frames.items()} == {"s1": 1, "s2": 2, "s3": 0}
    assert {type(frame) for frame in frames.values()} == {pl.DataFrame}


@pytest.mark.parametrize("annotation", [*filter(known_to_dagster, SEQUENCES)])
def test_a_list_has_the_frames_in_the_order_of_the_partitions(instance, tmp_path, annotation):
    seen = []
    ran(instance, tmp_path, by_site, reader(seen, annotation), keys=("s2", "s1"))
    assert [sorted(set(frame["site"])) for frame in seen[0]] == [["s1"], ["s2"], []]


def test_a_dictionary_of_pending_samples(instance, tmp_path):
    seen = []
    keys = {"metaxy/feature": "of", "metaxy/id_columns": ["id"], "metaxy/input": "increment"}

    @dg.asset(metadata=keys)
    def of(raw: dict[str, pl.DataFrame]) -> pl.DataFrame:
        seen.append({key: len(frame) for key, frame in raw.items()})
        return pl.concat(raw.values())

    ran(instance, tmp_path, by_site, of, keys=("s1",))
    ran(instance, tmp_path, by_site, of, keys=("s2",))
    assert seen == [{"s1": 1, "s2": 0, "s3": 0}, {"s1": 0, "s2": 2, "s3": 0}]


# ---------------------------------------------------------------------------------- by column
def columns_of(instance, tmp_path, columns, annotation=pl.DataFrame):
    seen = []
    ins = {"raw": dg.AssetIn(metadata={"columns": columns})}
    ran(instance, tmp_path, raw, reader(seen, annotation, ins=ins, name="x"))
    return list(getattr(seen[0], "columns", ()))


@pytest.mark.parametrize("annotation", [pl.DataFrame, pl.LazyFrame, pd.DataFrame, None])
@pytest.mark.filterwarnings("ignore::polars.exceptions.PerformanceWarning")
def test_columns_of_an_input_are_all_that_is_loaded(instance, tmp_path, annotation):
    columns = ["name", "ID", "name"]
    assert columns_of(instance, tmp_path, columns, annotation) == ["name", "id"]


def test_a_column_that_is_not_there_is_named(instance, tmp_path):
    with pytest.raises(mxd.RunError, match="raw") as caught:
        columns_of(instance, tmp_path, ["nmae"])
    assert "did you mean 'name'?" in str(caught.value)


@pytest.mark.parametrize("columns", ["id", [], [1], {"id": 1}])
def test_columns_that_are_no_list_are_a_fault(columns):
    ins = {"raw": dg.AssetIn(metadata={"columns": columns})}
    (error,) = tied(raw, reader([], pl.DataFrame, ins=ins, name="x")).errors
    assert error.problem == "metadata \"columns\" of parameter 'raw' is no list of columns"
