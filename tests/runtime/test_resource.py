"""Where the store is: configured, given, or in the Dagster instance's storage directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from feature_runs import IO_MANAGER, feature, images

import metaxy_dagster as mxd
from metaxy_dagster.runtime.resource import bind_graph


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any configuration above it."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def configured(folder: Path, *, names: tuple[str, ...] = ("dev", "prod")) -> Path:
    lines = [f'store = "{names[0]}"']
    lines += [
        f'[stores.{name}]\ntype = "duckdb"\nconfig = {{ path = "{folder}/{name}.duckdb" }}'
        for name in names
    ]
    path = folder / "metaxy.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.usefixtures("nowhere")
def test_the_default_is_a_file_in_the_instances_storage(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        store = mxd.MetaxyStoreFromConfigResource().get_store(instance)
        assert isinstance(store, mxd.DuckDBMetadataStore)
        assert store.path == Path(instance.storage_directory()) / "metaxy.duckdb"


@pytest.mark.usefixtures("nowhere")
def test_the_default_in_a_run(
    run: Callable[..., Any], graph: mxd.FeatureGraph, instance: dg.DagsterInstance
) -> None:
    @dg.asset(**feature("image"))
    def image() -> pa.Table:
        return images({1: ("a", "b")})

    resource = bind_graph(mxd.MetaxyStoreFromConfigResource(), graph)
    manager = bind_graph(mxd.MetaxyIOManager(store=resource), graph)
    run(image, resources={"store": resource, IO_MANAGER: manager})
    assert resource.get_store(instance).count("image") == 1


def test_by_name_by_default_and_by_path(nowhere: Path) -> None:
    configured(nowhere)
    make = mxd.MetaxyStoreFromConfigResource
    assert make().get_store().path == nowhere / "dev.duckdb"
    assert make(name="prod").get_store().path == nowhere / "prod.duckdb"
    assert make(path=str(nowhere / "x.duckdb")).get_store().path == nowhere / "x.duckdb"


def test_a_configuration_elsewhere(nowhere: Path, tmp_path: Path) -> None:
    del nowhere
    path = configured(tmp_path)
    resource = mxd.MetaxyStoreFromConfigResource(name="prod", config_file=str(path))
    assert resource.get_store().path == tmp_path / "prod.duckdb"


def test_an_unknown_name_is_refused(nowhere: Path) -> None:
    with pytest.raises(mxd.ConfigError, match="dev"):
        mxd.MetaxyStoreFromConfigResource(name="dev").get_store()
    configured(nowhere)
    with pytest.raises(mxd.ConfigError) as caught:
        mxd.MetaxyStoreFromConfigResource(name="prd").get_store()
    assert "prod" in str(caught.value)


def test_an_environment_variable_that_is_not_set_is_refused(nowhere: Path) -> None:
    (nowhere / "metaxy.toml").write_text(
        '[stores.dev]\ntype = "duckdb"\nconfig = { path = "${NOT_SET_ANYWHERE}/x.duckdb" }\n'
    )
    with pytest.raises(mxd.ConfigError, match="NOT_SET_ANYWHERE"):
        mxd.MetaxyStoreFromConfigResource(name="dev").get_store()


def test_dagsters_environment_variables_work(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    monkeypatch.setenv("STORE_FILE", str(nowhere / "env.duckdb"))
    seen: list[Path] = []

    @dg.asset
    def look(store: dg.ResourceParam[mxd.MetadataStore]) -> None:
        seen.append(store.path)

    resource = mxd.MetaxyStoreFromConfigResource(path=dg.EnvVar("STORE_FILE"))
    run(look, resources={"store": resource})
    assert seen == [nowhere / "env.duckdb"]


def test_outside_of_a_run(tmp_path: Path, graph: mxd.FeatureGraph) -> None:
    """In sensors, scripts and notebooks, by Dagster's own ways too."""
    resource = bind_graph(mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "m.duckdb")), graph)
    resource.get_store().write("image", images({1: ("a", "b")}))
    with dg.build_resources({"store": resource}) as resources:
        assert resources.store.count("image") == 1
    made = resource.create_resource(dg.build_init_resource_context())
    assert made.count("image") == 1


def test_a_bare_store_is_not_open_for_reading_in_the_steps_of_a_run(
    run: Callable[..., Any], resources: dict[str, Any], store: mxd.DuckDBMetadataStore
) -> None:
    """Older Dagster enters a bare store that another resource has; here all versions do."""
    store.write("image", images({1: ("a", "b")}))
    seen: list[int] = []

    @dg.asset(deps=["image"])
    def more(store: dg.ResourceParam[mxd.MetadataStore]) -> None:
        seen.append(store.count("image"))
        store.write("image", images({3: ("e", "f")}))
        seen.append(store.count("image"))
        with store, pytest.raises(mxd.StoreError, match="open for reading"):
            store.write("image", images({4: ("g", "h")}))

    @dg.asset(**feature("image"))
    def image() -> pa.Table:
        return images({1: ("a", "b"), 2: ("c", "d")})

    bare = {**resources, IO_MANAGER: mxd.MetaxyIOManager(store=store)}
    with store:
        run(image, more, resources=bare)
        assert store.count("image") == 1
        with pytest.raises(mxd.StoreError, match="open for reading"):
            store.write("image", images({4: ("g", "h")}))
    assert seen == [2, 3]
    run(more, resources=bare)
    assert store.count("image") == 3
    store.write("image", images({4: ("g", "h")}))
    assert store.count("image") == 4


def test_a_path_that_cannot_be_written_is_refused_by_name(
    run: Callable[..., Any], tmp_path: Path, graph: mxd.FeatureGraph
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = mxd.DuckDBMetadataStore(tmp_path / "file" / "m.duckdb", graph=graph)

    @dg.asset(**feature("image"))
    def image() -> pa.Table:
        return images({1: ("a", "b")})

    with pytest.raises(mxd.StoreError) as caught:
        run(image, resources={IO_MANAGER: mxd.MetaxyIOManager(store=store)})
    assert "asset 'image'" in str(caught.value)
    assert str(tmp_path / "file") in str(caught.value)


def test_binding_features_changes_only_what_has_none(
    tmp_path: Path, graph: mxd.FeatureGraph, store: mxd.DuckDBMetadataStore
) -> None:
    other = mxd.FeatureGraph()
    bare = mxd.DuckDBMetadataStore(tmp_path / "b.duckdb")
    assert bind_graph(store, other) is store
    # A copy, to which passes over other definitions with this store add their features.
    assert bind_graph(bare, other).graph is not other
    assert list(bind_graph(bare, other).graph) == list(other) == []
    resource = mxd.MetaxyStoreFromConfigResource(path=str(tmp_path / "r.duckdb"), lock_timeout=3)
    bound = bind_graph(resource, graph)
    assert bound.get_store().graph is bound.graph
    assert [bound.graph[key] for key in bound.graph] == [graph[key] for key in graph]
    assert bound.lock_timeout == 3
    assert bind_graph(bound, other) is bound
    manager = mxd.MetaxyIOManager(store=bare, max_deleted_share=0.1)
    again = bind_graph(manager, graph)
    assert again.max_deleted_share == 0.1
    assert bind_graph(again, other) is again
    assert bind_graph("anything", graph) == "anything"
