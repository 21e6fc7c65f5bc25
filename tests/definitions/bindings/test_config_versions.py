"""A run's configuration and resources count as inputs where ``metaxy/config_version`` says so."""

import dagster as dg
import polars as pl
import pytest

import metaxy_dagster as mxd

KEYS = {"metaxy/id_columns": ["id"]}
INCREMENT = {**KEYS, "metaxy/input": "increment"}
RAW = pl.DataFrame({"id": [1, 2]})


class Model(dg.Config):
    name: str = "a"
    layers: int | None = None


class Settings(dg.Config):
    model: Model = Model()
    threshold: float = 1
    verbose: bool = False


class Client(dg.ConfigurableResource):
    version: str = "1"
    url: str = "x"


@dg.asset(metadata={"metaxy/feature": "texts", **KEYS})
def texts() -> pl.DataFrame:
    return RAW


def scores(said, *, fields=None):
    keys = {"metaxy/feature": "scores", "metaxy/config_version": said, **INCREMENT}

    @dg.asset(name="scores", metadata={**keys, "metaxy/fields": fields or ["score"]})
    def made(texts: pl.DataFrame, config: Settings) -> pl.DataFrame:
        return texts.with_columns(by=pl.lit(config.model.name))

    return made


@dg.asset(metadata={"metaxy/feature": "labels", **INCREMENT})
def labels(scores: pl.DataFrame) -> pl.DataFrame:
    return scores


class Location:
    """Definitions and an instance, run with one configuration after another."""

    def __init__(self, instance, *assets, resources=None):
        self.instance = instance
        given = dg.Definitions(assets=[texts, *assets], resources=resources)
        path = f"{instance.storage_directory()}/m.duckdb"
        self.defs = mxd.metaxify_definitions(given, store=path, features=[])

    @property
    def store(self):
        return self.defs.resources["store"].get_store()

    def run(self, config=None, *, nested=False, **more):
        """How many samples of each feature a run computed."""
        given = config if nested or config is None else {"config": config}
        ops = {} if given is None else {"ops": {"scores": given}}
        job = self.defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=self.instance, run_config={**ops, **more})
        assert result.success
        return {
            str(event.asset_key.path[-1]): event.materialization.metadata["metaxy/written"].value
            for event in result.get_asset_materialization_events()
            if "metaxy/written" in event.materialization.metadata
        }

    def written(self, config=None, **more):
        return self.run(config, **more).get("scores", 0)


# What counts, and runs one after another, each with how many samples it has to compute.
SAME, ALL = 0, 2
CASES = {
    "a listed key": (["threshold"], [({}, ALL), ({"threshold": 2}, ALL), ({"threshold": 2}, SAME)]),
    "the default, said": (["threshold"], [({}, ALL), ({"threshold": 1.0}, SAME)]),
    "a key that is not listed": (["threshold"], [({}, ALL), ({"verbose": True}, SAME)]),
    "a nested key": (
        ["model.name"],
        [({}, ALL), ({"model": {"name": "b"}}, ALL), ({"model": {"name": "b", "layers": 3}}, SAME)],
    ),
    "a whole part": (
        ["model"],
        [({}, ALL), ({"model": {"layers": 3}}, ALL), ({"model": {"layers": 3}}, SAME)],
    ),
    "everything": (True, [({}, ALL), ({"verbose": True}, ALL), ({}, ALL), ({}, SAME)]),
    "the order of keys": (
        True,
        [
            ({"model": {"name": "b", "layers": 3}, "verbose": True}, ALL),
            ({"verbose": True, "model": {"layers": 3, "name": "b"}}, SAME),
        ],
    ),
    "nothing": (False, [({}, ALL), ({"verbose": True}, SAME)]),
    "a mapping": ({"config": ["threshold"]}, [({}, ALL), ({"threshold": 3}, ALL)]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_run_is_configured_with_decides_what_is_computed(instance, case):
    said, runs = CASES[case]
    location = Location(instance, scores(said))
    assert [location.written(config) for config, _ in runs] == [count for _, count in runs]


def test_downstream_features_follow_and_reads_outside_of_runs_know_the_default(instance):
    location = Location(instance, scores(True), labels)
    assert location.run({}) == {"texts": 2, "scores": 2, "labels": 2}
    assert location.store.resolve_update("scores").counts == mxd.Counts(0, 0, 0)
    other = {"model": {"name": "b"}}
    assert location.run(other) == {"texts": 0, "scores": 2, "labels": 2}
    assert location.store.read("labels").collect("polars").to_native()["by"].to_list() == ["b"] * 2
    # The next run without a word would compute them again.
    assert location.store.resolve_update("scores").counts == mxd.Counts(0, 2, 0)
    assert location.store.resolve_update("labels").counts == mxd.Counts(0, 0, 0)


def test_fields_keep_their_own_code_versions(instance):
    assert Location(instance, scores(["threshold"], fields={"a": "1", "b": "2"})).written() == ALL
    changed = Location(instance, scores(["threshold"], fields={"a": "1", "b": "3"}))
    versions = [field.code_version for field in changed.store.graph["scores"].fields]
    assert [version.partition("+")[0] for version in versions] == ["1", "3"]
    assert (changed.written(), changed.written()) == (ALL, SAME)


@pytest.mark.parametrize("listed", [["token"], True])
def test_what_has_no_default_counts_as_in_the_last_run(instance, listed):
    @dg.asset(
        name="scores",
        config_schema={"token": str},
        metadata={"metaxy/feature": "scores", "metaxy/config_version": listed, **INCREMENT},
    )
    def made(texts: pl.DataFrame) -> pl.DataFrame:
        return texts

    location = Location(instance, made)
    plan = mxd.plan_definitions(dg.Definitions(assets=[texts, made]), features=[])
    told = [each.message for each in plan.notices if "no default" in each.message]
    assert len(told) == 1
    assert told[0].startswith("token ")
    assert location.written({"token": "hush"}) == ALL
    assert location.store.resolve_update("scores").counts == mxd.Counts(0, 0, 0)
    assert (location.written({"token": "hush"}), location.written({"token": "other"})) == (0, 2)
    assert location.store.resolve_update("scores").counts == mxd.Counts(0, 0, 0)
    assert b"hush" not in location.store.path.read_bytes()


RESOURCES = {"resources": ["client"]}


class Versioned:
    def __init__(self, version):
        self.code_version = version


def by_client():
    keys = {"metaxy/feature": "scores", "metaxy/config_version": RESOURCES, **INCREMENT}

    @dg.asset(name="scores", metadata=keys, required_resource_keys={"client"})
    def made(texts: pl.DataFrame) -> pl.DataFrame:
        return texts

    return made


class Plain(dg.ConfigurableResource):
    url: str = "x"


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (Client(), Client(url="y"), Client(version="2")),
        (Plain(), Plain(url="x"), Plain(url="y")),
        (Versioned("1"), Versioned("1"), Versioned("2")),
        (Client(version=dg.EnvVar("ONE")), Client(version="1"), Client(version=dg.EnvVar("TWO"))),
    ],
)
def test_versions_of_resources_count(instance, monkeypatch, first, same, other):
    monkeypatch.setenv("ONE", "1")
    monkeypatch.setenv("TWO", "2")
    ran = []
    for resource in (first, same, other):
        location = Location(instance, by_client(), resources={"client": resource})
        ran.append(location.written())
        assert location.store.resolve_update("scores").counts == mxd.Counts(0, 0, 0)
    assert ran == [ALL, SAME, ALL]


def test_a_run_configures_a_resource(instance):
    location = Location(instance, by_client(), resources={"client": Client.configure_at_launch()})
    runs = [{"resources": {"client": {"config": {"version": each}}}} for each in "112"]
    assert [location.written(**more) for more in runs] == [ALL, SAME, ALL]


def test_an_op_writes_to_the_store_by_itself_and_in_batches(instance):
    keys = {"metaxy/feature": "scores", "metaxy/config_version": True, **KEYS}

    @dg.asset(name="scores", deps=[texts], metadata={**keys, "metaxy/deps": ["texts"]})
    def made(context, config: Settings, store: dg.ResourceParam[mxd.MetadataStore]) -> None:
        increment = store.resolve_update("scores")
        seen.append(increment.counts.pending)
        for batch in mxd.each_batch(context, increment, 1):
            store.write("scores", batch.upstream("texts"), increment=batch)

    seen: list[int] = []
    location = Location(instance, made)
    for config in ({}, {}, {"threshold": 4}, {"threshold": 4}):
        location.run(config)
    assert seen == [2, 0, 2, 0]


def test_steps_of_a_graph_asset_agree(instance):
    @dg.op(config_schema={"scale": dg.Field(int, default_value=1), "note": dg.Field(str, "")})
    def scaled(context, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(by=pl.lit(context.op_config["scale"]))

    @dg.op
    def kept(frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    keys = {"metaxy/feature": "scores", "metaxy/config_version": ["scaled.scale"], **INCREMENT}

    @dg.graph_asset(name="scores", metadata=keys)
    def made(texts):
        return kept(scaled(texts))

    location = Location(instance, made)
    runs = [{}, {"scale": 2}, {"scale": 2, "note": "x"}, {}]
    nested = [{"ops": {"scaled": {"config": config}}} for config in runs]
    written = [location.run(config, nested=True)["scores"] for config in nested]
    assert written == [ALL, ALL, SAME, ALL]


def plan_of(*assets, **options):
    given = {"resources": options.pop("resources", None)}
    defs = dg.Definitions(assets=[texts, *assets], **given)
    return mxd.plan_definitions(defs, features=[], **options)


FAULTS = {
    "a key that is not there": (["treshold"], "did you mean 'threshold'"),
    "a nested key that is not there": (["model.nam"], "did you mean 'name'"),
    "no list": ("threshold", "a list of keys"),
    "a number": (1, "a list of keys"),
    "an empty key": ([""], "a list of keys"),
    "a part that there is not": ({"configs": True}, '"resources": a list'),
    "all resources": ({"resources": True}, '"resources": a list'),
    "a resource that is not asked for": ({"resources": ["client"]}, "resource 'client'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_no_run_could_follow_is_a_fault_of_the_plan(case):
    said, told = FAULTS[case]
    (error,) = plan_of(scores(said)).errors
    assert error.asset == "scores"
    assert told in str(error)


def test_resources_without_versions_are_faults():
    (error,) = plan_of(by_client(), resources={"client": object()}).errors
    assert "neither a version nor a configuration" in str(error)

    @dg.op(required_resource_keys={"client"})
    def op(frame):
        return frame

    keys = {"metaxy/feature": "scores", "metaxy/config_version": RESOURCES, **INCREMENT}

    @dg.graph_asset(name="scores", metadata=keys)
    def made(texts):
        return op(texts)

    (error,) = plan_of(made, resources={"client": Client()}).errors
    assert "graph asset" in str(error)


def test_assets_of_one_feature_have_to_agree():
    def part(name, said, default):
        keys = {"metaxy/feature": "parts", "metaxy/partition": {"by": name}, **KEYS}
        said = {} if said is None else {"metaxy/config_version": said}

        @dg.asset(name=name, config_schema={"x": dg.Field(int, default)}, metadata={**keys, **said})
        def made() -> pl.DataFrame:
            return RAW

        return made

    def faults(*parts):
        return [error.problem for error in plan_of(*(part(*each) for each in parts)).errors]

    assert faults(("a", ["x"], 1), ("b", ["x"], 1)) == []
    for other in (("b", ["x"], 2), ("b", None, 1), ("b", True, 1)):
        (problem,) = faults(("a", ["x"], 1), other)
        assert "count different configurations" in problem


def test_a_second_pass_takes_nothing_that_the_first_one_added():
    first = mxd.metaxify_definitions(dg.Definitions(assets=[texts, scores(True)]), features=[])
    again = mxd.plan_definitions(first, features=[])
    assert again.changes_anything is False
    assert again.notices == ()


def test_a_root_is_written_anew(instance):
    @dg.asset(
        name="scores",
        metadata={"metaxy/feature": "scores", "metaxy/config_version": True, **KEYS},
    )
    def made(config: Settings) -> pl.DataFrame:
        return RAW

    location = Location(instance, made)
    runs = [location.written(config) for config in ({}, {}, {"verbose": True}, {"verbose": True})]
    assert runs == [ALL, SAME, ALL, SAME]
