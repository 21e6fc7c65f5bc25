"""The files that measured steps begin from, each made once by processes of their own.

The history is that of a real feature: the roots are written; in a later process the leaf is
resolved and written; in another one the roots' changed rows are written. What comes next is
measured. Files are kept by the sources of the engine that made them, so a re-run is quick and a
changed engine never meets the file of an older one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import HERE, ROOT, THREADS, Environments, run_step
from shapes import SHAPES

__all__ = ["Stages", "row_digest", "source_digest"]

_SOURCES = {
    "rival": [HERE / "rival-constraints.txt", HERE / "engine_rival.py"],
    "log": [HERE / "engine_log.py"],
    "ours": [
        HERE / "engine_ours.py",
        ROOT / "metaxy_dagster" / "stores",
        ROOT / "metaxy_dagster" / "features",
    ],
}
_SOURCES["state"] = _SOURCES["ours"]
_COMMON = [HERE / "shapes.py", HERE / "data.py"]


def source_digest(engine: str) -> str:
    """Tells apart the states of an engine's sources."""
    found = hashlib.sha256()
    for path in [*_COMMON, *_SOURCES[engine]]:
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            found.update(file.read_bytes())
    return found.hexdigest()[:10]


def row_digest() -> str:
    """Tells apart the states of this library, and of the way in which it is measured."""
    found = hashlib.sha256()
    for name in ("worker.py", "meter.py"):
        found.update((HERE / name).read_bytes())
    return f"{source_digest('ours')}-{found.hexdigest()[:6]}"


@dataclass(frozen=True)
class Stages:
    """The cached files of all engines.

    Attributes:
        cache: the directory.
        environments: who makes them.
        seconds: gives the time that is left for one step.
    """

    cache: Path
    environments: Environments
    seconds: Callable[[], float]

    def data(self, shape: str, size: int, share: float | None = None) -> Path:
        """The directory of the given rows, with those of ``share`` in it."""
        folder = self.cache / "data" / f"{shape}-{size}"
        task = {"step": "data", "shape": shape, "size": size, "share": share, "data": str(folder)}
        root = SHAPES[shape].roots[0].key
        if not (folder / (f"{root}.arrow" if share is None else f"{root}-{share}.arrow")).exists():
            run_step(self.environments.ours, task, self.seconds())
        return folder

    def file(self, engine: str, shape: str, size: int, stage: str, share: float = 0.0) -> Path:
        """The database of a stage.

        Args:
            engine: whose; ``state`` reads ``ours``.
            shape: the graph.
            size: rows.
            stage: ``root``, ``leaf`` or ``changed``.
            share: of the changes; without any, ``changed`` is ``leaf``.
        """
        engine = "ours" if engine == "state" else engine
        folder = self._folder(engine, shape, size)
        if stage == "changed" and not share:
            stage = "leaf"
        name = f"changed-{share}" if stage == "changed" else stage
        target = folder / f"{name}.duckdb"
        if target.exists():
            return target
        part = folder / f"{name}.part"
        _remove(part)
        task: dict[str, Any] = {"path": str(part), **self.task(engine, shape, size)}
        if stage == "root":
            task |= {"step": "root"}
        elif stage == "leaf":
            shutil.copyfile(self.file(engine, shape, size, "root"), part)
            task |= {"step": "answer"}
        else:
            shutil.copyfile(self.file(engine, shape, size, "leaf"), part)
            task |= {"step": "root", "share": share}
            self.data(shape, size, share)
        run_step(self.environments.python(engine), task, self.seconds())
        part.rename(target)
        _remove(part)
        return target

    def copy(self, file: Path) -> Path:
        """A copy that a step may write to."""
        target = file.with_name("copy.duckdb")
        _remove(target)
        shutil.copyfile(file, target)
        return target

    def empty(self, engine: str, shape: str, size: int) -> Path:
        """A path at which there is no file yet."""
        target = self._folder(engine, shape, size) / "empty.duckdb"
        _remove(target)
        return target

    def task(self, engine: str, shape: str, size: int) -> dict[str, Any]:
        """What every step of an engine is told."""
        data = self.data(shape, size)
        return {"engine": engine, "shape": shape, "data": str(data), "threads": THREADS}

    def _folder(self, engine: str, shape: str, size: int) -> Path:
        parent = self.cache / "files" / f"{shape}-{size}"
        folder = parent / f"{engine}-{source_digest(engine)}"
        if not folder.exists():
            for older in parent.glob(f"{engine}-*"):
                shutil.rmtree(older)
            folder.mkdir(parents=True)
        return folder


def _remove(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()
