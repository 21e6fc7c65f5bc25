"""The retrofitted example, run four times through Dagster: which rows does each run touch?

Everything happens in a temporary folder. The rows are read from the metadata of Dagster's
materialization events, and compared with what they must be. The files stay where the repository has
them, and are compared with those that it writes without the retrofit. If anything differs, the exit
code is 1.
"""

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from types import ModuleType

import dagster as dg
import polars as pl
from polars.testing import assert_frame_equal

EXAMPLE = Path(__file__).parent / "digits"
LEGACY = Path(__file__).parent / "digits_legacy"
IMAGES, LABELS, CORRECTED = 1_797, 10, 10
# Ten scans of a 3 or an 8, with the pixel (row 4, column 4) that somebody set right.
CORRECTIONS = [(sample, 4, 4, 7.5) for sample in (3, 8, 13, 18, 23, 28, 38, 40, 45, 53)]
COLUMNS = ("new", "stale", "orphaned", "written", "unchanged")
FEATURES = ("digits", "image_features", "embeddings", "strokes", "label_onehot", "prototypes")
OTHERS = ("model", "report")


@dataclass(frozen=True)
class Rows:
    """What one run did to the rows of one asset; ``None`` where the asset has no feature."""

    new: int | None = None
    stale: int | None = None
    orphaned: int | None = None
    written: int | None = None
    unchanged: int | None = None
    total: int | None = None

    @classmethod
    def of(cls, materialization: dg.AssetMaterialization) -> "Rows":
        values = {name: materialization.metadata.get(f"metaxy/{name}") for name in COLUMNS}
        values["total"] = materialization.metadata.get("dagster/row_count")
        return cls(**{name: value and value.value for name, value in values.items()})

    @property
    def touched(self) -> tuple[int | None, int | None]:
        """New and stale samples: those that the asset computed."""
        return self.new, self.stale


def load_repository(folder: Path, name: str) -> dg.Definitions:
    """Import the package in ``folder`` under a name of its own, as a fresh process would."""
    module = import_module(name, folder / "__init__.py")
    module.__path__ = [str(folder)]
    return import_module(f"{name}.definitions", folder / "definitions.py").defs


def import_module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} cannot be imported"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run_job(defs: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, Rows]:
    """Execute the example's job; the rows of each asset, in order of execution."""
    result = defs.resolve_job_def("refresh").execute_in_process(
        instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    )
    events = (
        event.step_materialization_data
        for event in result.all_events
        if event.is_step_materialization
    )
    return {
        event.materialization.asset_key.to_user_string(): Rows.of(event.materialization)
        for event in events
    }


def print_table(rows: Mapping[str, Rows]) -> None:
    print(f"  {'asset':<16}" + "".join(f"{column:>11}" for column in (*COLUMNS, "total")))
    for asset, row in rows.items():
        cells = (getattr(row, column) for column in (*COLUMNS, "total"))
        print(f"  {asset:<16}" + "".join(f"{'·' if c is None else f'{c:,}':>11}" for c in cells))


def correct_images(workspace: Path) -> None:
    """Somebody corrects a pixel in ten of the scans."""
    lines = ["sample_id,row,column,intensity"]
    lines += [",".join(map(str, correction)) for correction in CORRECTIONS]
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "corrections.csv").write_text("\n".join(lines) + "\n")


def bump_code_version(folder: Path) -> Path:
    """A copy of the example in ``folder`` in which one field has a new code version."""
    copy = folder / "digits"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = (copy / "images.py").read_text()
    after = re.sub(r'("gradients": \{\s*"code_version": )"1"', r'\1"2"', before)
    (copy / "images.py").write_text(after)
    diff = unified_diff(
        before.splitlines(), after.splitlines(), "images.py", "images.py", n=1, lineterm=""
    )
    print("".join(f"  {line}\n" for line in diff))
    return copy


def expected(new: Sequence[int], stale: Sequence[int]) -> dict[str, tuple[int, int]]:
    return dict(zip(FEATURES, zip(new, stale, strict=True), strict=True))


NOTHING = (0, 0, 0, 0, 0, 0)
EXPECTED = {
    1: expected(new=(IMAGES, IMAGES, IMAGES, IMAGES, IMAGES, LABELS), stale=NOTHING),
    2: expected(new=NOTHING, stale=NOTHING),
    # The pixel branch: 10 samples, and the prototypes of the labels 3 and 8. The labels: none.
    3: expected(new=NOTHING, stale=(CORRECTED, CORRECTED, CORRECTED, CORRECTED, 0, 2)),
    # The feature whose field it is, and what depends on that field.
    4: expected(new=NOTHING, stale=(0, IMAGES, IMAGES, 0, 0, 0)),
}


def faults(number: int, rows: Mapping[str, Rows]) -> list[str]:
    """What differs from what this run must do."""
    found = [
        f"run {number}, asset {asset}: (new, stale) = {rows[asset].touched}, expected {wanted}"
        for asset, wanted in EXPECTED[number].items()
        if rows[asset].touched != wanted
    ]
    for asset, (new, stale) in EXPECTED[number].items():
        row = rows[asset]
        if row.written != new + stale or row.orphaned != 0:
            found.append(f"run {number}, asset {asset}: not just the new and stale rows: {row}")
        if row.total != (LABELS if asset == "prototypes" else IMAGES):
            found.append(f"run {number}, asset {asset}: {row.total} rows in all")
    return found


def write_legacy_files(folder: Path) -> Path:
    """What the repository writes without the retrofit, in a folder of its own."""
    legacy = folder / "legacy"
    legacy.mkdir(exist_ok=True)
    corrections = folder / "workspace" / "corrections.csv"
    if corrections.exists():
        shutil.copy(corrections, legacy)
    os.environ["DIGITS_WORKSPACE"] = str(legacy)
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(load_repository(LEGACY, f"digits_legacy_{time.monotonic_ns()}"), instance)
    os.environ["DIGITS_WORKSPACE"] = str(folder / "workspace")
    return legacy


def file_faults(number: int, workspace: Path, legacy: Path) -> list[str]:
    """Tables and other files that are not those of the legacy repository."""
    found, wanted = (
        {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        for root in (workspace, legacy)
    )
    if found.keys() != wanted.keys():
        return [f"run {number}: the files {sorted(found)}, expected {sorted(wanted)}"]
    return [
        f"run {number}: {name} is not what the legacy repository writes"
        for name in sorted(wanted)
        if not same_file(found[name], wanted[name])
    ]


def same_file(left: Path, right: Path) -> bool:
    """Tables alike in columns, types, rows and their order; other files alike in each byte."""
    if left.suffix != ".parquet":
        return left.read_bytes() == right.read_bytes()
    try:
        # Sums of floats may differ in the last place when other rows are beside them.
        assert_frame_equal(pl.read_parquet(left), pl.read_parquet(right), rel_tol=1e-9)
    except AssertionError:
        return False
    return True


def perform(folder: Path) -> list[str]:
    """The four runs, in ``folder``; what went wrong."""
    workspace = folder / "workspace"
    os.environ["DIGITS_WORKSPACE"] = str(workspace)
    found: list[str] = []

    def step(number: int, headline: str, example: Path) -> None:
        began = time.perf_counter()
        rows = run_job(load_repository(example, f"digits_run_{number}"), instance)
        print(f"Run {number}: {headline} ({time.perf_counter() - began:.1f} s)\n")
        print_table(rows)
        print()
        found.extend(faults(number, rows))
        wrong = file_faults(number, workspace, legacy)
        if not wrong:
            print("  The files are those of the legacy repository, each where it was.\n")
        found.extend(wrong)

    (folder / "instance").mkdir()
    legacy = write_legacy_files(folder)
    with dg.DagsterInstance.local_temp(str(folder / "instance")) as instance:
        step(1, "everything is new", EXAMPLE)
        step(2, "nothing to do", EXAMPLE)
        correct_images(workspace)
        legacy = write_legacy_files(folder)
        step(3, "ten images were corrected, their labels were not", EXAMPLE)
        print("One field gets a new code version:\n")
        step(4, "only what depends on that field", bump_code_version(folder / "edited"))
    return found


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="digits-", ignore_cleanup_errors=True) as folder:
        found = perform(Path(folder))
    for fault in found:
        print(f"WRONG: {fault}", file=sys.stderr)
    if not found:
        print("Every run touched exactly the rows that it had to, and left every file whole.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
