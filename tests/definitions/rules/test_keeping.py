"""The repository's own IO managers keep what they store: they are wrapped where they are bound."""

# Annotations are not postponed here: Dagster reads those of resources when the class is made.

import dagster as dg
import pandas as pd
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.runtime.io.wrapped import WrappedDefinition

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROWS = pd.DataFrame({"id": [1, 2]})
KEEP = mxd.MetaxifySettings(io_routing="keep")


def keys(feature, **more):
    named = {name.replace("__", "/"): value for name, value in more.items()}
    return {"metaxy/feature": feature, "metaxy/id_columns": ["id"], **named}


class Folder(dg.ConfigurableIOManager):
    """Where a repository has its data."""

    name: str = "own"

    def handle_output(self, context, obj): ...

    def load_input(self, context):
        return ROWS


class Away(dg.IOManager):
    """Sends what it is given to somebody else."""

    def handle_output(self, context, obj): ...

    def load_input(self, context):
        message = "nothing comes back"
        raise NotImplementedError(message)


class Holder(dg.ConfigurableResource):
    """Another resource, which uses an IO manager."""

    manager: Folder


@dg.io_manager(config_schema={"name": dg.Field(str, default_value="x")})
def by_function(context):
    return Folder(name=context.resource_config["name"])


def rows():
    return ROWS


def asset(name="x", function=rows, **options):
    metadata = options.pop("metadata", None) or keys(name)
    return dg.asset(function, name=name, metadata=metadata, **options)


def of_x(x):
    return x


@dg.op
def made():
    return ROWS


@dg.graph_asset(name="x", metadata=keys("x"))
def graphed():
    return made()


@dg.multi_asset(
    outs={
        "x": dg.AssetOut(metadata=keys("x"), io_manager_key="mine"),
        "plain": dg.AssetOut(io_manager_key="other"),
    }
)
def several():
    return ROWS, ROWS


def bound(*assets, **resources):
    return dg.with_resources(assets, resources)


#: What stores the feature ``x``: the assets, the resources, the key, whether it is bound to it.
KEPT = {
    "a resource": lambda: ([asset()], {"io_manager": Folder()}, "io_manager"),
    "an object": lambda: ([asset()], {"io_manager": dg.FilesystemIOManager()}, "io_manager"),
    "a function": lambda: ([asset()], {"io_manager": by_function}, "io_manager"),
    "at launch": lambda: ([asset()], {"io_manager": Folder.configure_at_launch()}, "io_manager"),
    "a key": lambda: ([asset(io_manager_key="mine")], {"mine": Folder()}, "mine"),
    "a definition": lambda: ([asset(io_manager_def=Folder())], {}, "x__io_manager"),
    "with_resources": lambda: (bound(asset(), io_manager=Folder()), {}, "io_manager"),
    "resource_defs": lambda: (
        [asset(resource_defs={"io_manager": by_function})],
        {},
        "io_manager",
    ),
    "a graph": lambda: ([graphed], {"io_manager": Folder()}, "io_manager"),
    "several": lambda: ([several], {"mine": Folder(), "other": Folder()}, "mine"),
    "a source": lambda: (
        [dg.SourceAsset("x", metadata=keys("x"))],
        {"io_manager": Folder()},
        "io_manager",
    ),
    "a source of a key": lambda: (
        [dg.SourceAsset("x", metadata=keys("x"), io_manager_key="mine")],
        {"mine": Folder()},
        "mine",
    ),
    "a source of its own": lambda: (
        [dg.SourceAsset("x", metadata=keys("x"), io_manager_def=by_function)],
        {},
        "x__io_manager",
    ),
    "a spec": lambda: (
        [dg.AssetSpec("x", metadata=keys("x"))],
        {"io_manager": Folder()},
        "io_manager",
    ),
    "a spec of a key": lambda: (
        [dg.AssetSpec("x", metadata=keys("x")).with_io_manager_key("mine")],
        {"mine": Folder()},
        "mine",
    ),
    "nothing returned, loaded": lambda: (
        [asset(function=lambda: None, dagster_type=dg.Nothing), dg.asset(of_x, name="y")],
        {"io_manager": Folder()},
        "io_manager",
    ),
}


def plan_of(assets, resources, **options):
    defs = dg.Definitions(assets=list(assets), resources=resources)
    return mxd.plan_definitions(defs, features=[], **{"settings": KEEP, **options})


def behind(defs, key):
    """The resource behind a key, bound to ``x`` or not."""
    (entry,) = [
        each
        for each in defs.assets
        if dg.AssetKey("x") in (each.keys if isinstance(each, dg.AssetsDefinition) else [each.key])
    ]
    own = entry.resource_defs if isinstance(entry, dg.AssetsDefinition) else {}
    return own.get(key, defs.resources.get(key))


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_stored_by_an_own_io_manager_stays_there(kind, tmp_path):
    assets, resources, key = KEPT[kind]()
    plan = plan_of(assets, resources, store=tmp_path / "m.duckdb")
    assert plan.errors == ()
    x = next(each for each in plan.assets if each.key == dg.AssetKey("x"))
    (change,) = [each for each in x.changes if "io_manager" in each.what]
    assert (change.what, change.value.startswith(f"{key!r} (")) == ("io_manager", True)
    assert "stays where it is" in change.why
    assert told(plan) == []
    for form in ("text", "markdown", "json"):
        assert f"{key!r} (" in plan.render(form)
    defs = plan.apply()
    dg.Definitions.validate_loadable(defs)
    assert isinstance(behind(defs, key), WrappedDefinition)
    others = {
        name for name, value in defs.resources.items() if isinstance(value, WrappedDefinition)
    }
    assert others <= {key}
    assert mxd.metaxify_definitions(defs) is defs


UNTOUCHED = {
    "no feature uses it": lambda: (
        [asset(io_manager_key="mine"), dg.asset(of_x, name="y", io_manager_key="other")],
        {"mine": Folder()},
        {},
    ),
    "off": lambda: ([asset()], {}, {"io_routing": "off"}),
    "respect_default": lambda: ([asset()], {}, {"io_routing": "respect_default"}),
    "route": lambda: ([asset()], {}, {"io_routing": "route"}),
    "route, a key": lambda: ([asset(io_manager_key="other")], {}, {"io_routing": "route"}),
    "an IO manager of features that is another": lambda: (
        [asset(io_manager_key="other")],
        {"metaxy_io_manager": dg.mem_io_manager, "store": object()},
        {},
    ),
}


@pytest.mark.parametrize("kind", UNTOUCHED)
def test_what_stores_no_feature_is_the_same_object(kind, tmp_path):
    assets, resources, settings = UNTOUCHED[kind]()
    own = {"io_manager": Folder(), "other": Folder(), **resources}
    options = {"settings": mxd.MetaxifySettings(**settings), "store": tmp_path / "m.duckdb"}
    defs = plan_of(assets, own, **options).apply()
    dg.Definitions.validate_loadable(defs)
    for name in ("io_manager", "other"):
        assert defs.resources[name] is own[name]


def test_what_is_loaded_by_a_key_of_its_own_is_wrapped_for_features_only():
    ins = {"x": dg.AssetIn(input_manager_key="loader")}
    resources = {"io_manager": Folder(), "loader": Folder(), "plain": Folder()}
    plain = dg.asset(of_x, name="y", ins={"x": dg.AssetIn(input_manager_key="plain")})
    taken = asset("z", of_x, ins=ins, metadata=keys("z", metaxy__input="increment"))
    plan = plan_of([asset(), plain, taken], resources)
    assert plan.errors == ()
    made = plan.apply().resources
    assert {name for name in resources if isinstance(made[name], WrappedDefinition)} == {
        "io_manager",
        "loader",
    }
    assert made["plain"] is resources["plain"]


def test_units_that_are_bound_to_the_same_stay_bound_to_the_same(instance, tmp_path):
    """Dagster refuses a run in which one key means two resources."""
    own = Folder()

    @dg.asset
    def before():
        return ROWS

    @dg.asset_check(asset="x")
    def whole(x):
        return dg.AssetCheckResult(passed=len(x) == len(ROWS))

    assets = bound(before, asset("x", lambda before: before), whole, io_manager=own)
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets), store=tmp_path / "m.duckdb", settings=KEEP
    )
    found = {id(each.resource_defs["io_manager"]) for each in defs.assets}
    assert len(found) == 1
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success


def test_run_config_is_what_it_was(instance, tmp_path):
    seen = []

    @dg.io_manager(config_schema={"name": str})
    def configured(context):
        seen.append(context.resource_config["name"])
        return Folder()

    defs = dg.Definitions([asset()], resources={"io_manager": configured})
    defs = mxd.metaxify_definitions(defs, store=tmp_path / "m.duckdb", settings=KEEP)
    job = defs.resolve_implicit_global_asset_job_def()
    config = {"resources": {"io_manager": {"config": {"name": "here"}}}}
    assert job.execute_in_process(instance=instance, run_config=config).success
    assert seen == ["here"]


def test_passes_over_parts_that_share_an_io_manager_can_be_merged(tmp_path):
    own, path = Folder(), tmp_path / "m.duckdb"
    parts = [
        mxd.metaxify_definitions(
            dg.Definitions([asset(name)], resources={"io_manager": own}),
            store=path,
            settings=KEEP,
        )
        for name in ("one", "two")
    ]
    dg.Definitions.validate_loadable(dg.Definitions.merge(*parts))


@pytest.mark.parametrize(("kind", "checked"), [("a key", []), ("a store", ["schema"])])
def test_schemas_are_checked_of_what_the_store_has(kind, checked):
    """The columns of the others are not there."""
    asked = {"metadata": keys("x", metaxy__checks=["schema"])}
    x = asset(**asked, **({"io_manager_key": "mine"} if kind == "a key" else {}))
    plan = plan_of([x], {"mine": Folder()})
    assert [change.value for _, change in plan.check_notes] == checked
    assert ("schema is not checked: 'mine' (Folder)" in plan.render()) is not bool(checked)


def test_a_part_without_the_pass_is_not_merged_with_one_that_has_it(tmp_path):
    own = Folder()
    parts = [dg.Definitions([asset(name)], resources={"io_manager": own}) for name in "ab"]
    passed = mxd.metaxify_definitions(parts[0], store=tmp_path / "m.duckdb", settings=KEEP)
    with pytest.raises(mxd.DefinitionsError) as caught:
        dg.Definitions.merge(passed, parts[1])
    assert caught.value.found == "two resources 'io_manager': Folder, wrapped and Folder"
    assert "merge first" in caught.value.remedy


@pytest.mark.parametrize(("routing", "told"), [("keep", 0), ("route", 1)])
def test_arguments_get_what_they_got(routing, told):
    """Only what the store loads in their place needs an annotation."""
    reader = dg.asset(of_x, name="y")
    settings = mxd.MetaxifySettings(io_routing=routing)
    plan = plan_of([asset(), reader], {"io_manager": Folder()}, settings=settings)
    assert sum(notice.kind == "parameter" for notice in plan.notices) == told


# ------------------------------------------------------------------------- what cannot be wrapped
def told(plan):
    return [notice.message for notice in plan.notices if notice.kind == "IO manager"]


def test_what_others_hold_and_is_configured_at_launch_is_left_alone():
    late = Folder.configure_at_launch()
    resources = {"io_manager": late, "holder": Holder(manager=late)}
    plan = plan_of([asset()], resources)
    (message,) = told(plan)
    assert "'io_manager' (Folder)" in message
    assert "the resource 'holder' holds it" in message
    defs = plan.apply()
    assert defs.resources["io_manager"] is late
    dg.Definitions.validate_loadable(defs)
    taken = asset("y", of_x, metadata=keys("y", metaxy__input="increment"))
    (error,) = plan_of([asset(), taken], resources).errors
    assert "'holder' holds it" in str(error.found)


def test_what_others_hold_and_is_configured_is_wrapped():
    own = Folder()
    plan = plan_of([asset()], {"io_manager": own, "holder": Holder(manager=own)})
    assert told(plan) == []
    dg.Definitions.validate_loadable(plan.apply())


def a_dict() -> dict[str, int]:
    return {"id": 1}


def a_number() -> float:
    return 1.0


def a_frame() -> pd.DataFrame:
    return ROWS


def anything():
    return ROWS


@pytest.mark.parametrize(
    ("function", "named"),
    [(a_dict, "dict"), (a_number, "float"), (a_frame, None), (anything, None)],
)
def test_values_that_are_no_frames_are_told(function, named):
    plan = plan_of([asset(function=function)], {"io_manager": Folder()})
    assert plan.errors == ()
    messages = [each for each in told(plan) if f"return {named}, and no frame" in each]
    assert len(messages) == (named is not None)


def test_an_increment_of_what_is_no_frame_is_a_fault():
    def counted(x) -> dict:
        return {"rows": len(x)}

    taken = asset("y", counted, metadata=keys("y", metaxy__input="increment"))
    (error,) = plan_of([asset(), taken], {"io_manager": Folder()}).errors
    assert (error.asset, error.feature) == ("y", "y")
    assert "annotated to return dict" in str(error)
    assert 'remove "metaxy/input"' in error.remedy


@pytest.mark.parametrize(
    ("own", "why"),
    [(dg.mem_io_manager, "nothing beyond the run"), (Away(), "cannot load what it wrote")],
)
def test_increments_that_cannot_be_merged_go_to_the_store(own, why):
    """Where the default cannot hold them, the store does; what takes all rows stays."""
    taken = asset("y", of_x, metadata=keys("y", metaxy__input="increment"))
    plan = plan_of([asset(), taken], {"io_manager": own})
    assert plan.errors == ()
    found = {
        each.key.to_user_string(): change
        for each in plan.assets
        for change in each.changes
        if "io_manager" in change.what
    }
    assert found["x"].what == "io_manager"
    assert (found["y"].what, found["y"].value) == ("io_manager_key", "metaxy_io_manager")
    assert why in found["y"].why
