"""The example of functions that write their own files: less is made, and the files are the same."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

import metaxy_dagster as mxd
from papers import definitions as papers
from papers_legacy import definitions as legacy
from papers_legacy import signatures, words

TEXTS = {
    "a": "Walking and talking are related.",
    "b": "Nothing is",
    "c": "Walked, talked, related.",
}


def written(folder: Path, **texts: str) -> None:
    (folder / "inbox").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / "inbox" / f"{name}.md").write_text(text)


def made(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Runs:
    """Runs of the old and of the new repository, each on a folder of its own."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.folders = {"old": tmp_path / "old", "new": tmp_path / "new"}
        self.defs = {"old": legacy.defs, "new": papers.defs}
        self.instances = {
            name: dg.DagsterInstance.ephemeral(str(tmp_path / f"{name}-home")) for name in self.defs
        }
        self.counted: list[str] = []
        inner = words.words_of

        def words_of(text: str) -> dict[str, int]:
            self.counted.append(text)
            return inner(text)

        monkeypatch.setattr(legacy, "words_of", words_of)

    def __call__(self, name: str) -> list[str]:
        """The texts whose words were counted."""
        self._monkeypatch.setattr(legacy, "FOLDER", self.folders[name])
        self.counted.clear()
        job = self.defs[name].resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=self.instances[name]).success
        return list(self.counted)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, monkeypatch)


def test_less_is_made_and_the_files_are_the_same(runs: Runs) -> None:
    def both() -> tuple[list[str], list[str]]:
        found = runs("old"), runs("new")
        assert made(runs.folders["old"]) == made(runs.folders["new"])
        return found

    for folder in runs.folders.values():
        written(folder, **TEXTS)
    assert both() == (list(TEXTS.values()), list(TEXTS.values()))
    assert both() == (list(TEXTS.values()), [])
    for folder in runs.folders.values():
        written(folder, b="Something else", d="A fourth one.")
    old, new = both()
    assert (len(old), new) == (4, ["Something else", "A fourth one."])


def test_only_keys_and_one_call_are_added() -> None:
    defs = dg.Definitions(assets=papers.assets)
    plan = mxd.plan_definitions(defs, store="unused.duckdb")
    assert plan.errors == ()
    seen = {
        asset.key.to_user_string(): change.value
        for asset in plan.assets
        for change in asset.changes
        if change.what == "output"
    }
    assert seen == dict.fromkeys(["words", "signatures", "catalogue"], "metaxy/output: self")
    lines = Path(papers.__file__).read_text().splitlines()
    assert len(lines) < 25


def test_what_the_functions_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words.words_of("Walking, walked and RELATED relations") == {
        "and": 1,
        "rel": 1,
        "relat": 1,
        "walk": 2,
    }
    one, other = signatures.signature("a b c d e f"), signatures.signature("a b c d e f")
    assert one == other != signatures.signature("g h i j k l")
    monkeypatch.setattr(legacy, "FOLDER", tmp_path)
    written(tmp_path, a="one two two")
    assert dg.materialize(legacy.defs.assets or []).success
    assert json.loads((tmp_path / "words" / "a.json").read_text()) == {"one": 1, "two": 2}
    assert (tmp_path / "catalogue.txt").read_text() == "a: 3 words; two, one\n"
