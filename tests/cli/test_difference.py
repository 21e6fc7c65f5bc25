from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxy_dagster.cli.difference import compare

FEATURE = '"metaxy/feature": "{}", "metaxy/id_columns": ["id"]'
BEFORE = """
a = dg.AssetSpec("a", metadata={"metaxy/feature": "a", "metaxy/id_columns": ["id"]})
b = dg.AssetSpec("b", metadata={"metaxy/feature": "b", "metaxy/id_columns": ["id"]})
c = dg.AssetSpec("c")
gone = dg.AssetSpec("gone")
defs = mxd.metaxify_definitions(dg.Definitions([a, b, c, gone]), features=[])
"""
AFTER = """
a = dg.AssetSpec("a", metadata={"metaxy/feature": "a", "metaxy/id_columns": ["id"]})
b = dg.AssetSpec("b", metadata={
    "metaxy/feature": "b", "metaxy/id_columns": ["id"], "metaxy/deps": ["a"]})
c = dg.AssetSpec("c", metadata={"metaxy/feature": "c", "metaxy/id_columns": ["id"]})
fresh = dg.AssetSpec("fresh")
defs = mxd.metaxify_definitions(dg.Definitions([a, b, c, fresh]), features=[], store="x.duckdb")
"""


@pytest.fixture
def earlier(repo, run, tmp_path: Path) -> Path:
    path = tmp_path / "earlier.json"
    path.write_text(run("plan", "-f", repo(BEFORE), "--format", "json").out)
    return path


def test_two_plans_are_compared_asset_by_asset(earlier: Path, repo, run) -> None:
    done = run("plan", "-f", repo(AFTER), "--diff", earlier)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("metaxify: 1 assets added, 1 removed, 2 changed")
    assert [line for line in lines if line[:2] in ("+ ", "- ", "~ ")] == [
        "~ b",
        "~ c",
        "+ fresh",
        "- gone",
    ]
    assert any("+ dep  a" in line for line in lines)
    assert any("~ code_version" in line for line in lines) is False
    assert any(line.strip() == "+ feature  c" for line in lines)
    assert any(line.startswith("    + store: ") for line in lines)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_an_exit_code_for_a_difference(form: str, earlier: Path, repo, run) -> None:
    arguments = ("--diff", earlier, "--exit-code", "--format", form)
    assert run("plan", "-f", repo(AFTER), *arguments).code == 3
    same = run("plan", "-f", repo(BEFORE), *arguments)
    assert same.code == 0
    if form == "json":
        assert json.loads(same.out) == {"different": False, "assets": []}
    else:
        assert "the plans are the same" in same.out


def test_a_difference_for_a_pull_request(earlier: Path, repo, run) -> None:
    out = run("plan", "-f", repo(AFTER), "--diff", earlier, "--format", "markdown").out
    assert "```diff\n" in out
    assert "\n! c\n+     feature  c\n" in out


def test_a_difference_for_programs(earlier: Path, repo, run) -> None:
    out = run("plan", "-f", repo(AFTER), "--diff", earlier, "--format", "json").out
    assert {each["key"]: each["status"] for each in json.loads(out)["assets"]} == {
        "b": "changed",
        "c": "changed",
        "fresh": "added",
        "gone": "removed",
    }


def test_faults_come_before_differences(earlier: Path, repo, run) -> None:
    broken = AFTER.replace('"metaxy/deps": ["a"]', '"metaxy/deps": ["b"]')
    done = run("plan", "-f", repo(broken), "--diff", earlier, "--exit-code")
    assert done.code == 1
    assert "depends on itself" in done.out
    assert "depends on itself" in done.err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"assets": {}, "left_alone": []}', "\0"])
def test_files_that_are_no_plans(text: str, repo, run, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    done = run("plan", "-f", repo(BEFORE), "--diff", path)
    assert (done.code, done.out) == (2, "")
    assert "is no plan" in done.err
    assert "--format json" in done.err


NAMES = st.sampled_from("abcd")
CHANGES = st.lists(
    st.builds(
        lambda what, value: {"what": what, "value": value, "why": "w"},
        st.sampled_from(["dep", "tags"]),
        NAMES,
    ),
    max_size=3,
    unique_by=lambda change: (change["what"], change["value"]),
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, object]:
    changed = draw(st.lists(NAMES, unique=True))
    left = [name for name in draw(st.lists(NAMES, unique=True)) if name not in changed]
    return {
        "assets": [
            {"key": name, "new_key": name, "feature": None, "changes": draw(CHANGES)}
            for name in changed
        ],
        "left_alone": left,
    }


@given(plans(), plans())
def test_a_difference_is_what_takes_one_plan_to_the_other(old, new) -> None:
    """Nothing differs from itself, and the other way round every sign is the other one."""
    assert not compare(old, old)
    there = {each.name: each.sign for each in compare(old, new).assets}
    back = {each.name: each.sign for each in compare(new, old).assets}
    opposite = {"+": "-", "-": "+", "~": "~"}
    assert {name: opposite[sign] for name, sign in there.items()} == back
    keys = [{*(a["key"] for a in plan["assets"]), *plan["left_alone"]} for plan in (old, new)]
    assert {name for name, sign in there.items() if sign == "+"} == keys[1] - keys[0]
    assert {name for name, sign in there.items() if sign == "-"} == keys[0] - keys[1]
