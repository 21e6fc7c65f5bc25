"""The figures that were set as targets before anything was built, beside those reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["targets"]

_GIB = 1 << 30
_SECONDS = 0.1
_IMPORT = 0.3

Rows = Mapping[str, Mapping[str, Any]]


def targets(rows: Rows, imports: Mapping[str, float] | None) -> Iterator[tuple[str, str, str]]:
    """Each target, what was reached, and whether that meets it: ``yes``, ``no`` or ``not run``."""
    for shape in ("simple", "wide"):
        key = f"stale 0.1 {shape} 10000"
        text = f"10k {shape}, 10% stale: CPU at most 1/8 of the rival"
        yield _at_most(text, rows, key, 1 / 8)
        yield _at_most(f"{text}, whole process", rows, key, 1 / 8, measure="process")
    for shape in ("simple", "wide"):
        key, text = f"stale 0.1 {shape} 1000000", f"1M {shape}, 10% stale: CPU at most"
        yield _at_most(f"{text} 1/15 of the rival", rows, key, 1 / 15)
        yield _at_most(f"{text} 0.5 x SQL on the rival's layout", rows, key, 0.5, other="log")
    for shape in ("simple", "wide"):
        key, text = f"new {shape} 1000000", f"1M {shape}, all new: CPU at most"
        yield _at_most(f"{text} 1/2 of the rival", rows, key, 0.5)
        yield _at_most(f"{text} 1.3 x SQL on this layout", rows, key, 1.3, other="state")
    key = "stale 0.001 simple 10000000"
    yield _at_most("10M simple, 0.1% stale: CPU at most 1/100 of the rival", rows, key, 0.01)
    yield from _nothing_changed(rows)
    for key in ("new simple", "new wide", "stale 0.1 simple", "stale 0.1 wide"):
        text = f"1M {key}: peak memory at most half of the rival's"
        yield _at_most(text, rows, f"{key} 1000000", 0.5, measure="peak")
    yield _batches(rows)
    for name in ("write", "read"):
        text = f"{name} 1M rows: CPU at most half of the rival"
        yield _at_most(text, rows, f"{name} simple 1000000", 0.5)
    text = f"importing the library adds at most {_IMPORT} s CPU to importing Dagster"
    if imports is None:
        yield text, "-", "not run"
    else:
        added = imports["library"] - imports["dagster"]
        yield text, f"{added:.2f} s", _verdict(met=added <= _IMPORT)


def _verdict(*, met: bool) -> str:
    return "yes" if met else "**no**"


def _value(rows: Rows, key: str, engine: str, measure: str) -> float | None:
    return rows.get(key, {}).get("engines", {}).get(engine, {}).get(measure)


def _at_most(
    text: str, rows: Rows, key: str, limit: float, *, other: str = "rival", measure: str = "cpu"
) -> tuple[str, str, str]:
    ours, theirs = (_value(rows, key, engine, measure) for engine in ("ours", other))
    if ours is None or theirs is None:
        return text, "-", "not run"
    ratio = ours / theirs
    shown = f"1/{1 / ratio:.1f}" if ratio < 1 and other == "rival" else f"{ratio:.2f} x"
    return text, shown, _verdict(met=ratio <= limit)


def _nothing_changed(rows: Rows) -> Iterator[tuple[str, str, str]]:
    small = _value(rows, "stale 0.0 simple 100000", "ours", "cpu")
    large = _value(rows, "stale 0.0 simple 10000000", "ours", "cpu")
    text = "10M, nothing changed: CPU at most 2 x 100k with nothing changed"
    if small is None or large is None:
        yield text, "-", "not run"
    else:
        yield text, f"{large / small:.2f} x", _verdict(met=large <= 2 * small)
    label = f"10M, nothing changed: CPU below {_SECONDS} s"
    if large is None:
        yield label, "-", "not run"
    else:
        yield label, f"{large:.3f} s", _verdict(met=large < _SECONDS)


def _batches(rows: Rows) -> tuple[str, str, str]:
    text = "10M all new, in batches: peak memory within 2 GiB"
    peak = _value(rows, "batches simple 10000000", "ours", "peak")
    if peak is None:
        error = rows.get("batches simple 10000000", {}).get("engines", {}).get("ours", {})
        return text, error.get("error", "-"), "not run" if not error else "**no**"
    return text, f"{peak / _GIB:.2f} GiB", _verdict(met=peak <= 2 * _GIB)
