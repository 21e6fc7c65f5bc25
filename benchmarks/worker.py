"""One step of the benchmark in a process of its own: read a task, do it, print what it cost.

The task is a JSON object on the command line, the result one on standard output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meter import Meter, peak_bytes

__all__ = ["main"]

_COMMON_NAMES = (
    "DuckDBMetadataStore",
    "FeatureSpec",
    "MetaxyIOManager",
    "MetaxyStoreFromConfigResource",
    "metaxify_definitions",
)
# Imported before anything is measured.
_USED_BY_ALL = ("duckdb", "narwhals", "pyarrow.compute", "pyarrow.dataset", "data")
# Seconds below which a resolve is done once more in the same process.
_QUICK = 1.5


def main() -> None:
    """Run one task."""
    task = json.loads(sys.argv[1])
    steps = {"versions": _versions, "import": _import, "data": _data}
    result = steps.get(task["step"], _engine_step)(task)
    result["peak"] = peak_bytes()
    sys.stdout.write(json.dumps(result) + "\n")


def _versions(task: Mapping[str, Any]) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in task["packages"]}
    return {"versions": {"python": platform.python_version(), **versions}}


def _import(task: Mapping[str, Any]) -> dict[str, Any]:
    with Meter() as meter:
        importlib.import_module("dagster")
        if task["library"]:
            library = importlib.import_module("metaxy_dagster")
            for name in _COMMON_NAMES:
                getattr(library, name)
    return {"cpu": meter.cpu, "wall": meter.wall}


def _data(task: Mapping[str, Any]) -> dict[str, Any]:
    data, shapes = importlib.import_module("data"), importlib.import_module("shapes")
    data.make_data(Path(task["data"]), shapes.SHAPES[task["shape"]], task["size"], task["share"])
    return {}


def _engine_step(task: Mapping[str, Any]) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415 - not in the process that measures imports

    pa.set_cpu_count(task["threads"])
    shape = importlib.import_module("shapes").SHAPES[task["shape"]]
    module = importlib.import_module(f"engine_{task['engine']}")
    for name in _USED_BY_ALL:
        importlib.import_module(name)
    late = Path(task["path"]).parent / f"imports-{task['engine']}-{task['step']}.json"
    early = _import_early(late)
    engine = module.Engine(shape, Path(task["path"]), task["threads"], task.get("memory"))
    known = set(sys.modules)
    with engine.using():
        result = _STEPS[task["step"]](engine, shape, task)
    if found := set(sys.modules) - known:
        late.write_text(json.dumps(sorted({*early, *found})), encoding="utf-8")
    return result


def _import_early(late: Path) -> list[str]:
    """Import what an earlier turn imported only while it was measured.

    Else a library that imports early would look quick, and one that imports late slow.
    """
    names: list[str] = json.loads(late.read_text(encoding="utf-8")) if late.exists() else []
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return names


def _root(engine: Any, shape: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Write every root, or (with a share) the changed rows of the first."""
    data = importlib.import_module("data")
    meter, rows, share = Meter(), 0, task.get("share")
    for feature in shape.roots if share is None else shape.roots[:1]:
        table = data.read_data(data.data_file(Path(task["data"]), feature, share))
        rows += table.num_rows
        with meter:
            engine.write(feature, table)
    return {"cpu": meter.cpu, "wall": meter.wall, "rows": rows, "file": _file_bytes(task)}


def _answer(engine: Any, shape: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve and write every derived feature in turn."""
    with Meter() as meter:
        for feature in shape.derived:
            engine.answer(feature)
    table = engine.read(shape.leaf)
    return {
        "cpu": meter.cpu,
        "wall": meter.wall,
        "sets": {"stored": _digest(table, shape.leaf.ids)},
        "file": _file_bytes(task),
    }


def _resolve(engine: Any, shape: Any, _task: Mapping[str, Any]) -> dict[str, Any]:
    gc.collect()
    with Meter() as meter:
        found = engine.resolve(shape.leaf)
    peak = peak_bytes()
    names = shape.leaf.samples
    sets = {status: _digest(table, names) for status, table in found.items()}
    result = {"cpu": meter.cpu, "wall": meter.wall, "sets": sets, "peak_measured": peak}
    result["process"] = meter.process
    if meter.cpu < _QUICK:
        # Once more in the same process, without what happens only the first time.
        with Meter() as meter:
            engine.resolve(shape.leaf)
        result["again"] = meter.cpu
    return result


def _read(engine: Any, shape: Any, _task: Mapping[str, Any]) -> dict[str, Any]:
    with Meter() as meter:
        table = engine.read(shape.roots[0])
    peak = peak_bytes()
    sets = {"stored": _digest(table, shape.roots[0].ids)}
    return {"cpu": meter.cpu, "wall": meter.wall, "sets": sets, "peak_measured": peak}


def _counts(engine: Any, shape: Any, _task: Mapping[str, Any]) -> dict[str, Any]:
    with Meter() as meter:
        found = engine.counts(shape.leaf)
    return {"cpu": meter.cpu, "wall": meter.wall, "counts": found}


def _batches(engine: Any, shape: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    with Meter() as meter:
        found = engine.batches(shape.leaf, task["batch"])
    return {"cpu": meter.cpu, "wall": meter.wall, "counts": found}


_STEPS = {
    "root": _root,
    "answer": _answer,
    "resolve": _resolve,
    "read": _read,
    "counts": _counts,
    "batches": _batches,
}


def _digest(table: Any, names: tuple[str, ...]) -> list[int]:
    """The number of different ids, and a hash of their set. Both environments have one DuckDB."""
    import duckdb  # noqa: PLC0415 - not in the process that measures imports

    ids = ", ".join(names)
    if not table.num_rows:
        return [0, 0]
    key = names[0] if len(names) == 1 else f"concat_ws('/', {ids})"
    with duckdb.connect() as connection:
        connection.register("found", table.select(list(names)))
        rows = connection.execute(
            f"SELECT count(*), bit_xor(hash({key})) FROM (SELECT DISTINCT {ids} FROM found)"  # noqa: S608
        ).fetchall()
    return list(rows[0])


def _file_bytes(task: Mapping[str, Any]) -> int:
    path = Path(task["path"])
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    main()
