"""Where a store may be: whatever a file may be called, and nothing that is no local file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from filelock import ReadWriteLock
from patience import patient
from places import SUPPORT
from worlds import small_graph

import metaxy_dagster as mxd
from metaxy_dagster.errors import ConfigError, StoreBusyError
from metaxy_dagster.stores import DuckDBMetadataStore, MetaxyConfig

ROW = pa.table({"id": [1]})
NAMES = [
    *("a\\b", "a?b", "?a\\b?c", "a*b[1]", " sp ace ", "it's", 'q"u', "per%20cent%3F", "ünï🐕"),
    *("new\nline", "a;b--#", "${X}", "-x", "a.wal", "s3:", "x:memory:", "~"),
]


def made(path: Any, **options: Any) -> DuckDBMetadataStore:
    return DuckDBMetadataStore(path, graph=small_graph(), lock_timeout=patient(20), **options)


@pytest.mark.parametrize("where", ["file", "directory"])
@pytest.mark.parametrize("name", NAMES)
def test_a_store_works_whatever_its_file_is_called(name: str, where: str, tmp_path: Path) -> None:
    if where == "directory" and ("\\" in name or "?" in name):
        with pytest.raises(mxd.StoreError, match="a backslash or"):
            made(tmp_path / name / "m").write("plain", ROW)
        return
    path = (
        tmp_path / (name if where != "file" else "plain") / (name if where != "directory" else "m")
    )
    store = made(path)
    with store.open("w"):
        store.write("plain", ROW)
    store.write("plain", pa.table({"id": [2, 3], "x": ["a", "b"]}))
    with store:
        frame = store.read("plain", columns=["id"])
    store.delete("plain", filters="id = 3")
    store.compact()
    assert frame.collect()["id"].to_list() == [1, 2, 3]
    assert path.is_file()
    assert store.path == path
    again = made(store.uri)
    assert again.path == path
    assert again.count("plain") == 2
    # No log is left behind, nor anything in another place.
    files = {one.name for one in path.parent.iterdir() if not one.is_symlink()}
    assert files == {path.name, f"{path.name}.lock"}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", ["a?b", "a\\b", "a\\b?c"])
def test_a_killed_writer_of_an_odd_name_loses_nothing(
    name: str, known: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    if known:
        made(path).write("plain", pa.table({"id": [7]}))
    code = (
        "import os, sys, pyarrow as pa; from worlds import small_graph;"
        "from metaxy_dagster.stores import DuckDBMetadataStore;"
        "store = DuckDBMetadataStore(sys.argv[1], graph=small_graph());"
        "manager = store.connected('w'); manager.__enter__();"
        "store.write('plain', pa.table({'id': [1]})); os._exit(9)"
    )
    folders = [str(SUPPORT), *sys.path]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        check=False,
    )
    assert done.returncode == 9
    assert made(path).count("plain") == 1 + known
    made(path).compact()
    assert made(path).count("plain") == 1 + known


ELSEWHERE = [
    *(":memory:", ":MEMORY:", ":memory:named", "s3://bucket/m.duckdb", "S3://bucket/m", "gs://b/m"),
    *("az://c/m", "hf://x/m", "http://host/m", "https://host/m", "md:db", "MD:", "motherduck:db"),
    *("ducklake:m", "postgres:dbname=m", "postgresql://host/m", "sqlite:m.db", "mysql:db=m"),
    *("s3:/bucket/m", "file://host/m.duckdb", "file:///m.duckdb?access=ro", "file:///m#x"),
    *("", "~nobody_of_this_name/m", "a\0b", "a\ud800b", "a\udcffb", "file:///a%00b"),
]


@pytest.mark.parametrize("path", ELSEWHERE, ids=ascii)
def test_what_is_no_local_file_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = MetaxyConfig.model_validate({"stores": {"a": {"config": {"path": path}}}})
    ways: list[Callable[[], object]] = [
        lambda: made(path),
        config.get_store,
        mxd.MetaxyStoreFromConfigResource(path=path).get_store,
        lambda: mxd.metaxify_definitions(dg.Definitions(), store=path),
    ]
    if path and "://" not in path:
        ways.append(lambda: made(Path(path)))
    for way in ways:
        with pytest.raises(mxd.MetaxyError) as caught:
            way()
        # The pass tells all faults at once.
        (error,) = getattr(caught.value, "exceptions", (caught.value,))
        assert isinstance(error, ConfigError)
        assert error.remedy
        str(error).encode()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 5, b"m", ["m"], True, object()])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigError, match="text or a Path"):
        made(path)


@pytest.mark.parametrize("scheme", ["postgres", "s3", "mysql"])
def test_a_password_in_a_path_is_not_repeated(scheme: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(f"{scheme}://user:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_a_url_of_a_file_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "my store%.duckdb"
    made(path).write("plain", ROW)
    for url in (path.as_uri(), path.as_uri().replace("file:///", "file://localhost/")):
        assert made(url).path == path
        assert made(url).count("plain") == 1
        config = MetaxyConfig.model_validate({"stores": {"a": {"config": {"path": url}}}})
        assert config.get_store().path == path


def _linked(folder: Path) -> dict[str, Path]:
    """Ways to say real/m.duckdb."""
    (folder / "real").mkdir()
    (folder / "linked").symlink_to(folder / "real", target_is_directory=True)
    (folder / "other").mkdir()
    (folder / "other" / "link").symlink_to("../real/m.duckdb")
    (folder / "twice").symlink_to(folder / "other" / "link")
    return {
        "itself": folder / "real" / "m.duckdb",
        "relative": Path("real/m.duckdb"),
        "dots": folder / "real" / ".." / "real" / "m.duckdb",
        "linked directory": folder / "linked" / "m.duckdb",
        "dots behind a link": folder / "linked" / ".." / "real" / "m.duckdb",
        "link": folder / "other" / "link",
        "link to a link": folder / "twice",
    }


WAYS = [
    *("itself", "relative", "dots", "linked directory", "dots behind a link", "link"),
    "link to a link",
]


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_a_file_share_its_lock_and_log(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ways = _linked(tmp_path)
    # The first write may come through a link that leads nowhere yet.
    store = made(ways[way])
    store.write("plain", ROW)
    assert made(ways["itself"]).count("plain") == 1
    lock = ReadWriteLock(f"{ways['itself']}.lock", is_singleton=False)
    with contextlib.closing(lock), lock.read_lock():
        hasty = DuckDBMetadataStore(ways[way], graph=small_graph(), lock_timeout=0.1)
        with pytest.raises(StoreBusyError):
            hasty.write("plain", pa.table({"id": [2]}))
    assert sorted(one.name for one in tmp_path.rglob("*.lock*")) == ["m.duckdb.lock"]


@pytest.mark.parametrize("way", WAYS)
def test_stores_of_one_file_share_what_is_open(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ways = _linked(tmp_path)
    one, other = made(ways["itself"]), made(ways[way])
    with one.connected("w"):
        one.write("image", pa.table({"id": [1], "path": ["a"], "height": [1], "caption": ["b"]}))
        increment = other.resolve_update("score")
        result = other.write("score", pa.table({"id": [1], "s": [1]}), increment=increment)
    assert result.new == 1
    assert one.resolve_update("score").counts.new == 0


def test_links_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(mxd.MetaxyError) as caught:
        made(tmp_path / "a").write("plain", ROW)
    assert caught.value.remedy
