"""The table of ``README.md``, between its markers."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from targets import targets

__all__ = ["machine", "write_report"]

_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_MIB = 1 << 20
_SHORT = {"rival": "rival", "log": "SQL", "ours": "this library", "state": "SQL, our tables"}
_ORDER = ("new", "batches", "stale", "counts", "run", "write", "read")


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
    }


def write_report(path: Path, state: Mapping[str, Any], digest: str) -> None:
    """Put targets and tables between the markers of the README."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN, 1)
    after = rest.split(_END, 1)[1]
    body = "\n".join(_lines(state, digest))
    path.write_text(f"{before}{_BEGIN}\n{body}\n{_END}{after}", encoding="utf-8")


def _lines(state: Mapping[str, Any], digest: str) -> Iterator[str]:
    rows = state["rows"]
    about = ", ".join(f"{name} {value}" for name, value in state["machine"].items())
    yield f"Machine: {about}. Two threads for every engine."
    for side in ("ours", "rival"):
        if found := state["versions"].get(side):
            versions = ", ".join(f"{name} {version}" for name, version in found.items())
            yield f"{'This library' if side == 'ours' else 'Rival'}: {versions}."
    yield ""
    yield "| target | reached | met |"
    yield "|---|---:|---|"
    for text, reached, met in targets(rows, state.get("imports")):
        yield f"| {text} | {reached} | {met} |"
    yield ""
    if imports := state.get("imports"):
        yield (
            f"`import dagster`: {imports['dagster']:.2f} s CPU; with `import metaxy_dagster` and"
            f" its common names: {imports['library']:.2f} s."
        )
        yield ""
    for size in sorted({row["size"] for row in rows.values()}):
        yield from _table(size, [row for row in rows.values() if row["size"] == size], digest)


def _table(size: int, rows: list[Mapping[str, Any]], digest: str) -> Iterator[str]:
    yield f"### {size:,} rows"
    yield ""
    yield (
        "| scenario | rival | SQL, rival's layout | this library | SQL, this layout |"
        " ÷ rival | ÷ SQL | peak ÷ rival | sets |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---|"
    rank = {name: number for number, name in enumerate(_ORDER)}
    rows.sort(key=lambda row: (row["shape"], rank[row["name"]], row["share"] or 0))
    for row in rows:
        engines = row["engines"]
        cells = [_cell(engines.get(name)) for name in ("rival", "log", "ours", "state")]
        ratios = [
            _ratio(engines, "rival", "cpu"),
            _ratio(engines, "state" if "state" in engines else "log", "cpu"),
            _ratio(engines, "rival", "peak"),
        ]
        sets = {None: "", True: "same", False: "**differ**"}[row["same"]]
        mark = "" if row["digest"] == digest else " †"
        yield f"| {_label(row)}{mark} | {' | '.join([*cells, *ratios])} | {sets} |"
    yield ""


def _label(row: Mapping[str, Any]) -> str:
    share = "" if row["share"] is None else f" {row['share']:.1%}".replace(".0%", "%")
    return f"{row['shape']}, {row['name']}{share}"


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    if "error" in found:
        return found["error"].replace("|", "/")[:80]
    again = f" ({found['again']:.3f})" if "again" in found else ""
    return f"{found['cpu']:.3f}{again} / {found['wall']:.2f} s, {found['peak'] / _MIB:.0f} MiB"


def _ratio(engines: Mapping[str, Any], other: str, measure: str) -> str:
    ours, theirs = engines.get("ours", {}).get(measure), engines.get(other, {}).get(measure)
    return "-" if ours is None or theirs is None else f"{ours / theirs:.3f}"
