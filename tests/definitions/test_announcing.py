"""What a plan warns of is one line in the log where definitions are loaded."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from pathlib import Path

import pytest

from metaxy_dagster.definitions.record import recorded_plans

CODE = """
import dagster as dg
import metaxy_dagster as mxd

@dg.asset(metadata={"metaxy/feature": "f", "metaxy/id_columns": ["id"], "metaxy/unknown": 1})
def a(): ...

@dg.asset
def b(a): ...

"""
PASSED = "defs = mxd.metaxify_definitions(dg.Definitions([a, b]))\n"
DECORATED = (
    "@mxd.metaxify_definitions\n@dg.definitions\ndef defs():\n    return dg.Definitions([a, b])\n"
)
FUNCTION = "@mxd.metaxify_definitions\ndef defs():\n    return dg.Definitions([a, b])\n"
QUIET = CODE.replace(', "metaxy/unknown": 1', "").replace("def b(a)", "def b()") + (
    "defs = mxd.metaxify_definitions(dg.Definitions([a, b]), inject_code_version=False)\n"
)


@pytest.fixture
def loaded(tmp_path, monkeypatch, caplog):
    """``loaded(code, times)``: the lines that importing it so often logs."""
    monkeypatch.syspath_prepend(tmp_path)
    names = iter(range(1000))

    def load(code, times=1, *, called=False):
        name = f"announced_{tmp_path.name}_{next(names)}"
        Path(tmp_path, f"{name}.py").write_text(code)
        importlib.invalidate_caches()
        for _ in range(times):
            sys.modules.pop(name, None)
            module = importlib.import_module(name)
            if called:
                module.defs()
        lines = [r.getMessage() for r in caplog.records if r.name == "metaxy_dagster"]
        return [line.replace(name, "NAME") for line in lines]

    yield load
    for name in [each for each in sys.modules if each.startswith(f"announced_{tmp_path.name}")]:
        del sys.modules[name]


SAID = (
    "metaxify: 3 warnings (code version: 1, metadata: 1, parameter: 1), shown by: "
    "metaxy-dagster plan -m NAME"
)


def test_one_line_says_how_much_there_is_and_what_shows_it(loaded):
    assert loaded(CODE + PASSED, times=3) == [SAID]


@pytest.mark.parametrize("definition", [DECORATED, FUNCTION])
def test_functions_are_named_by_their_module(loaded, definition):
    assert loaded(CODE + definition, times=2, called=True) == [SAID]


def test_nothing_is_said_where_there_is_nothing_to_say(loaded):
    assert loaded(QUIET) == []


def test_a_step_of_a_run_does_not_say_it_again(loaded, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    assert loaded(CODE + PASSED) == []


def test_whoever_looks_at_plans_is_not_told(loaded):
    with recorded_plans() as plans:
        assert loaded(CODE + PASSED) == []
    assert len(plans) == 1
