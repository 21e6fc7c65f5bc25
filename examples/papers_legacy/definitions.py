"""The repository: what is in the inbox, its words, which papers are alike, a catalogue.

The functions write their own files and return nothing, or tell Dagster a number.
"""

import hashlib
import json
import os
from pathlib import Path

import dagster as dg
import pandas as pd

from .signatures import signature
from .words import words_of

FOLDER = Path(
    os.environ.get("PAPERS_FOLDER", Path(__file__).parent.parent / "workspace" / "papers")
)


@dg.asset
def papers() -> pd.DataFrame:
    """The papers in the inbox, with a checksum of each."""
    files = sorted((FOLDER / "inbox").glob("*.md"))
    checksums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return pd.DataFrame({"name": [file.stem for file in files], "checksum": checksums})


@dg.asset
def words(papers: pd.DataFrame) -> None:
    """How often each word stands in a paper: one file a paper."""
    for name in papers["name"]:
        counted = words_of((FOLDER / "inbox" / f"{name}.md").read_text())
        _write("words", name, counted)


@dg.asset(deps=[words])
def signatures(papers: pd.DataFrame) -> dg.MaterializeResult:
    """By which papers are told to be alike: one file a paper."""
    for name in papers["name"]:
        text = (FOLDER / "inbox" / f"{name}.md").read_text()
        _write("signatures", name, signature(text))
    return dg.MaterializeResult(metadata={"signed": len(papers)})


@dg.asset(deps=[signatures])
def catalogue() -> None:
    """One line a paper, for people."""
    lines = []
    for file in sorted((FOLDER / "words").glob("*.json")):
        counted = json.loads(file.read_text())
        often = sorted(counted, key=lambda word: (-counted[word], word))[:5]
        lines.append(f"{file.stem}: {sum(counted.values())} words; {', '.join(often)}")
    (FOLDER / "catalogue.txt").write_text("\n".join(lines) + "\n")


def _write(folder: str, name: str, value: object) -> None:
    path = FOLDER / folder / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


defs = dg.Definitions(assets=[papers, words, signatures, catalogue])
