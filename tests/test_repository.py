"""The repository keeps its own rules: floors, pinned versions, sizes, and documents in step."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import dagster as dg
import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from patience import patient
from places import ROOT

import metaxy_dagster

PACKAGE = ROOT / "metaxy_dagster"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "examples").rglob("*.py")), *sorted(ROOT.glob("docs/*.py"))]
README = (ROOT / "README.md").read_text()
FILE_LINES, FUNCTION_LINES = 430, 65


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ------------------------------------------------------------------------------------ floors
def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, to break."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_go_down_only(clone: Path) -> None:
    done = lint_imports(clone)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "statement"),
    [
        ("features", "import dagster"),
        ("features", "import narwhals"),
        ("features", "from metaxy_dagster.stores import increment"),
        ("stores", "import dagster"),
        ("stores", "from metaxy_dagster import runtime"),
        ("runtime", "from metaxy_dagster import definitions"),
    ],
)
def test_an_import_that_goes_up_is_found(clone: Path, room: str, statement: str) -> None:
    """The check above would also pass if it checked nothing."""
    (clone / PACKAGE.name / room / "wrong.py").write_text(f'"""Wrong."""\n\n{statement}\n')
    done = lint_imports(clone)
    assert done.returncode == 1
    assert f"metaxy_dagster.{room}.wrong" in done.stdout


# --------------------------------------------------------------------------------- versions
def requirements() -> list[Requirement]:
    """What the distribution, its extras and its development groups ask for by name."""
    project = PYPROJECT["project"]
    texts = [*project["dependencies"]]
    for group in (project["optional-dependencies"], PYPROJECT["dependency-groups"]):
        texts += [text for line in group.values() for text in line if isinstance(text, str)]
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if requirement.name != project["name"]]


def pins(name: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pairs = (line.split("==") for line in lines)
    return {canonicalize_name(package): Version(version) for package, version in pairs}


def test_no_module_imports_one_that_imports_it() -> None:
    """Nor by way of others; what is imported for annotations alone counts as well."""
    graph = grimp.build_graph("metaxy_dagster", cache_dir=None)
    above = {
        module: graph.find_modules_directly_imported_by(module) - {"metaxy_dagster"}
        for module in graph.modules
    }
    TopologicalSorter(above).prepare()  # raises a CycleError that names the circle


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_every_dependency_is_bounded_on_both_sides(requirement: Requirement) -> None:
    assert sorted(s.operator for s in requirement.specifier) == ["<", ">="]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_development_environment_pins_every_dependency(requirement: Requirement) -> None:
    assert requirement.specifier.contains(
        pins("constraints.txt")[canonicalize_name(requirement.name)]
    )


def test_the_lowest_environment_is_the_lower_end_of_every_range() -> None:
    development = {
        canonicalize_name(Requirement(text).name)
        for group, texts in PYPROJECT["dependency-groups"].items()
        for text in texts
        if group != "test" and isinstance(text, str)
    }
    lowest = {
        canonicalize_name(requirement.name): Version(specifier.version)
        for requirement in requirements()
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }
    wanted = {name: version for name, version in lowest.items() if name not in development}
    assert pins("constraints-lowest.txt") == wanted


def test_the_version_is_the_same_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    assert metaxy_dagster.__version__ == version
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(\d[^\]]*)\]", changes, re.MULTILINE)[0] == version


# ------------------------------------------------------------------------------------ sizes
def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function; its docstring is as long as it has to be."""
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    text = first.end_lineno - first.lineno + 1 if is_text and first.end_lineno else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - text


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    long = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length(node) > FUNCTION_LINES
    ]
    assert long == []


def test_every_lint_exception_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    rules = re.findall(r'^    "[A-Z]+[0-9]*",(.*)$', text, re.MULTILINE)
    assert rules
    assert all(re.match(r" +# \S+", comment) for comment in rules)


# -------------------------------------------------------------------------------- documents
@pytest.mark.parametrize("name", metaxy_dagster.__all__)
def test_public_names_are_documented_with_an_example(name: str) -> None:
    """All but errors, which are shown where they are raised, and plain values."""
    member = getattr(metaxy_dagster, name)
    if isinstance(member, type) and issubclass(member, metaxy_dagster.MetaxyError):
        assert member.__doc__
    elif callable(member):
        assert ">>> " in (member.__doc__ or ""), f"{name} has no example"


BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_readme_has_examples() -> None:
    assert BLOCKS


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_in_the_readme_runs(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block is complete: it runs, and its assets materialize twice, the second in no time."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), names)  # noqa: S102
    defs = names.get("defs")
    assert isinstance(defs, dg.Definitions)
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        written = [materialize(defs, instance) for _ in range(2)]
    assert sum(written[0].values()) > 0
    assert sum(written[1].values()) == 0


def materialize(defs: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, int]:
    """Materialize everything; the rows written of each feature."""
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    return {
        event.step_materialization_data.materialization.asset_key.to_user_string(): int(
            str(event.step_materialization_data.materialization.metadata["metaxy/written"].value)
        )
        for event in result.all_events
        if event.is_step_materialization
    }


def test_the_readme_lists_every_setting() -> None:
    settings = {each.name for each in dataclasses.fields(metaxy_dagster.MetaxifySettings)}
    assert listed_under("Settings of the pass") == settings


def listed_under(heading: str) -> set[str]:
    """What the first column of the table in a section of the README names."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_/]+)` \|", section, re.MULTILINE))


def test_the_readme_names_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z0-9-]+)", README)) <= targets


def test_the_readme_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_picture_of_the_lineage_is_in_step(tmp_path: Path) -> None:
    drawn = tmp_path / "lineage.svg"
    subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, str(ROOT / "docs" / "make_lineage.py"), str(drawn)],
        check=True,
        timeout=patient(120),
    )
    assert drawn.read_text() == (ROOT / "docs" / "lineage.svg").read_text(), "run `make docs`"


# ----------------------------------------------------------------------------------- mutations
@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests" / "mutation" / "explained").glob("*.toml")), ids=lambda p: p.stem
)
def test_explained_faults_are_about_lines_that_are_there(path: Path) -> None:
    source = PACKAGE.joinpath(*path.stem.split(".")).with_suffix(".py")
    lines = {line.strip() for line in source.read_text().splitlines()}
    for entry in tomllib.loads(path.read_text())["left"]:
        assert entry["why"].strip()
        for fault in entry["faults"]:
            taken = [line[2:] for line in fault.splitlines() if line.startswith("- ")]
            assert taken, fault
            assert set(taken) <= lines, f"{entry['function']}: explain it anew, or take it out"
