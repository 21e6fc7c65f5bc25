"""The map of the code is of this code."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from places import ROOT

PAGES = [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"]
# Where a path of the page begins, if not at the root.
ABOVE = [ROOT, ROOT / "metaxy_dagster", *(ROOT / "metaxy_dagster").glob("*/")]
WRITTEN = r"`([\w./]*(?:/|\.py|\.md|\.txt|\.toml))`"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "docs" / "make_architecture.py"
    spec = importlib.util.spec_from_file_location("make_architecture", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_tree_and_the_drawings_are_up_to_date(script: ModuleType) -> None:
    assert script.PAGE.read_text() == script.made(), "run: make docs"


def test_every_room_is_in_the_tree_and_says_what_it_is_for(script: ModuleType) -> None:
    lines = [line.split(maxsplit=1) for line in script.tree().splitlines()[1:-1]]
    rooms = list((ROOT / "metaxy_dagster").glob("*/**/__init__.py"))
    assert len(lines) == len(rooms) + len(list((ROOT / "metaxy_dagster").glob("[!_]*.py")))
    assert all(len(line) == 2 for line in lines)


def test_a_drawing_shows_who_stands_on_whom(script: ModuleType) -> None:
    """Not what others imply: writing stands on the file by way of all between."""
    drawn = script.drawing(script.imported(), script.SAMPLE)
    assert "runtime_work --> runtime_io" in drawn
    assert "stores_duckdb_resolve --> stores_duckdb_write" in drawn
    assert "stores_duckdb_file --> stores_duckdb_write" not in drawn
    assert "stores_duckdb_write --> stores_duckdb_resolve" not in drawn


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page) -> None:
    text = page.read_text()
    named = {*re.findall(WRITTEN, text), *re.findall(r"\]\(([^)#:]+)", text)}
    assert len(named) > 5
    beside = [*ABOVE, page.parent, ROOT / "metaxy_dagster" / "stores" / "frames"]
    missing = {one for one in named if not any((folder / one).exists() for folder in beside)}
    assert missing == set()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", text)) <= targets
