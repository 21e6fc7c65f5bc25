"""Bad paths, settings and configurations: refused with a remedy, nothing is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from worlds import small_graph

from metaxy_dagster.errors import ConfigError, StoreError
from metaxy_dagster.stores import DuckDBMetadataStore, MetaxyConfig, load_config

T = pa.table

# Paths, settings and configurations


def file_in(folder: Path) -> Path:
    path = folder / "file"
    path.write_text("not a folder", encoding="utf-8")
    return path


def open_store(path: Path, **options: Any) -> Any:
    store = DuckDBMetadataStore(path, graph=small_graph(), **options)
    return store.write("plain", T({"id": [1]}))


BAD_STORES: dict[str, Callable[[Path], Any]] = {
    "a directory": open_store,
    "below a file": lambda folder: open_store(file_in(folder) / "m.duckdb"),
    "deep below a file": lambda folder: open_store(file_in(folder) / "a" / "b" / "m.duckdb"),
    "too long a name": lambda folder: open_store(folder / ("a" * 300)),
    "waiting: text": lambda folder: open_store(folder / "m", lock_timeout="long"),
    "waiting: negative": lambda folder: open_store(folder / "m", lock_timeout=-1),
    "waiting: NaN": lambda folder: open_store(folder / "m", lock_timeout=float("nan")),
    "waiting: for ever": lambda folder: open_store(folder / "m", lock_timeout=float("inf")),
    "waiting: flag": lambda folder: open_store(folder / "m", lock_timeout=True),
    "settings: unknown": lambda folder: open_store(folder / "m", settings={"no": 1}),
    "settings: wrong": lambda folder: open_store(folder / "m", settings={"threads": "many"}),
    "settings: text": lambda folder: open_store(folder / "m", settings="threads"),
}


@pytest.mark.parametrize("name", BAD_STORES)
def test_stores_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        BAD_STORES[name](tmp_path)
    assert caught.value.remedy
    assert not (tmp_path / "m").exists()


BAD_CONFIGS = {
    "not TOML": ("project = ", "TOMLDecodeError"),
    "not UTF-8": (b"project = '\xff'", "UnicodeDecodeError"),
    "unknown key": ("bogus = 1", "bogus"),
    "wrong project": ("project = 5", "project"),
    "stores as text": ("stores = 'dev'", "stores"),
    "store as text": ("[stores]\ndev = 'x'", "dev"),
    "unknown store key": ("[stores.dev]\npath = 'x'", "path"),
    "no stores": ("project = 'p'", "[stores.dev]"),
    "which one": ("[stores.a]\n[stores.b]", "which"),
    "unknown default": ("store = 'c'\n[stores.a]", "'a'"),
    "unknown type": ("[stores.a]\ntype = 'oracle'", "duckdb"),
    "type that is no store": ("[stores.a]\ntype = 'pathlib.Path'", "pathlib.Path"),
    "type that is no class": ("[stores.a]\ntype = 'os.path.join'", "join"),
    "type of no module": ("[stores.a]\ntype = 'no.such.Store'", "no.such"),
    "type empty": ("[stores.a]\ntype = ''", "type"),
    "no path": ("[stores.a]\nconfig = {}", "path"),
    "unknown keyword": ("[stores.a]\nconfig = {path = 'x', bogus = 1}", "bogus"),
    "path as number": ("[stores.a]\nconfig = {path = 5}", "a"),
    "variable unset": ("[stores.a]\nconfig = {path = '${METAXY_TEST_UNSET}'}", "METAXY_TEST_UNSET"),
    "nested variable unset": (
        "[stores.a]\nconfig = {path = 'x', settings = {a = ['${METAXY_TEST_UNSET}']}}",
        "METAXY_TEST_UNSET",
    ),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_bad_configurations_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METAXY_TEST_UNSET", raising=False)
    content, word = BAD_CONFIGS[name]
    path = tmp_path / "metaxy.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path).get_store()
    assert caught.value.remedy
    assert word in str(caught.value)
    if "variable" in name:
        assert "stores.a.config" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["tool = 3", "[tool]\nmetaxy = 3", "[tool.metaxy]\nbogus = 1"])
def test_bad_tables_in_a_project_file_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path).get_store()
    assert caught.value.remedy


def test_a_missing_configuration_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "no.toml"
    with pytest.raises(ConfigError, match=r"no\.toml"):
        load_config(missing)
    with pytest.raises(ConfigError, match=r"Error"):
        load_config(tmp_path)
    monkeypatch.setenv("METAXY_CONFIG", str(missing))
    with pytest.raises(ConfigError, match=r"no\.toml"):
        load_config()


TABLE = "[tool.metaxy.stores.a]\nconfig = {path = 'a.duckdb'}"
STORE = "[stores.b]\nconfig = {path = 'b.duckdb'}"
# Files of a folder and of the one above it, and what applies in the folder.
FOUND: dict[str, tuple[dict[str, str], str | None]] = {
    "none": ({}, None),
    "here": ({"here/metaxy.toml": STORE}, "here/b.duckdb"),
    "above": ({"metaxy.toml": STORE}, "b.duckdb"),
    "the nearest": ({"metaxy.toml": STORE, "here/pyproject.toml": TABLE}, "here/a.duckdb"),
    "its own file first": (
        {"here/metaxy.toml": STORE, "here/pyproject.toml": TABLE},
        "here/b.duckdb",
    ),
    "a project of others": (
        {"metaxy.toml": STORE, "here/pyproject.toml": "[tool.ruff]\nline-length = 80"},
        "b.duckdb",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_nearest_configuration_applies(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, expected = FOUND[name]
    (tmp_path / "here").mkdir()
    for path, content in files.items():
        (tmp_path / path).write_text(content)
    monkeypatch.delenv("METAXY_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    config = load_config()
    if expected is None:
        assert config is None
        return
    graph = small_graph()
    store = config.get_store(graph=graph)
    assert store.path == tmp_path / expected
    assert store.graph is graph


def test_a_store_is_meant_by_name_or_by_the_setting_or_as_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "metaxy.toml"
    two = STORE + "\n[stores.c]\ntype = 'metaxy_dagster.stores.DuckDBMetadataStore'"
    two += "\nconfig = {path = 'c.duckdb'}"
    path.write_text(f"store = 'c'\n{two}")
    config = load_config(path)
    assert [config.get_store(n).path.name for n in (None, "b")] == ["c.duckdb", "b.duckdb"]
    path.write_text(two)
    with pytest.raises(ConfigError, match="which store is meant is open"):
        load_config(path).get_store()


def test_a_configuration_that_comes_from_no_file_starts_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = MetaxyConfig.model_validate({"stores": {"a": {"config": {"path": "a.duckdb"}}}})
    assert config.get_store().path == tmp_path / "a.duckdb"
