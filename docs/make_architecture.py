"""Write what docs/architecture.md shows of the code anew: the tree of rooms, and two drawings."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = "metaxy_dagster"
PAGE = ROOT / "docs" / "architecture.md"
FLOORS = ["cli", "components", "definitions", "runtime", "stores", "keys", "features"]
# What nearly every other room of its floor uses says nothing of the way that data takes.
EVERYWHERE = {"settings", "_compat"}
# The way of a sample: what a step does, what every store does, what the embedded one does.
SAMPLE = (
    *(f"runtime.{room}" for room in ("io", "work", "loading")),
    *(f"stores.{room}" for room in ("protocol", "readable", "increment", "engine", "frames")),
    *(f"stores.duckdb.{room}" for room in ("store", "engine", "file", "read", "resolve", "write")),
)


def made() -> str:
    """The page, with what is made of the code as it is now."""
    graph = imported()
    children = (
        name.removeprefix(f"{PACKAGE}.") for name in graph.find_children(f"{PACKAGE}.definitions")
    )
    steps = [name for name in children if name.split(".")[1] not in EVERYWHERE]
    text = PAGE.read_text()
    for mark, body in (
        ("the tree", tree()),
        ("the pass", drawing(graph, steps)),
        ("a sample", drawing(graph, SAMPLE)),
    ):
        begin, end = (
            f"<!-- {mark}: made by docs/make_architecture.py -->\n",
            f"<!-- end of {mark} -->",
        )
        before, rest = text.split(begin)
        after = rest.split(end)[1]
        text = f"{before}{begin}{body}{end}{after}"
    return text


def imported() -> grimp.ImportGraph:
    """Who imports whom; what comes by way of a package's face counts where it is made."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    lines = {name: list(import_lines(name)) for name in graph.modules}
    faces = {
        name: {alias.name: line.module for line in lines[name] for alias in line.names}
        for name in graph.modules
        if source(name).name == "__init__.py"
    }
    for name in graph.modules:
        for line in lines[name]:
            for alias in line.names:
                made_in = faces.get(line.module or "", {}).get(alias.name)
                if made_in in graph.modules:
                    graph.add_import(importer=name, imported=made_in)
    return graph


def import_lines(name: str) -> Iterator[ast.ImportFrom]:
    """The ``from … import …`` of a module."""
    nodes = ast.walk(ast.parse(source(name).read_text()))
    return (one for one in nodes if isinstance(one, ast.ImportFrom))


def source(name: str) -> Path:
    """The file of a module."""
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def tree() -> str:
    """Every package under the floor that it belongs to, in the order of the contracts."""
    lines = []
    for floor in FLOORS:
        folders = {path.parent for path in (ROOT / PACKAGE / floor).rglob("__init__.py")}
        for folder in sorted(folders, key=place):
            path = folder.relative_to(ROOT / PACKAGE)
            name = "  " * (len(path.parts) - 1) + f"{path.name}/"
            lines.append(f"{name:<16}{sentence(folder / '__init__.py')}")
    lines += [
        f"{name + '.py':<16}{sentence(ROOT / PACKAGE / f'{name}.py')}"
        for name in ("errors", "constants", "late")
    ]
    return "\n".join(["```text", *lines, "```", ""])


def place(folder: Path) -> list[tuple[int, str]]:
    """Where a folder stands: in the contract of the folder that it is in."""
    parts = folder.relative_to(ROOT / PACKAGE).parts
    names = range(1, len(parts))
    return [(rank(".".join(parts[:depth]), parts[depth]), parts[depth]) for depth in names]


def rank(container: str, name: str) -> int:
    """The floor of a room among its siblings; what no contract names comes first."""
    for layers in contracts().get(f"{PACKAGE}.{container}", []):
        names = [one.strip(" ()") for line in layers for one in line.split("|")]
        if name in names:
            return names.index(name)
    return -1


def contracts() -> dict[str, list[list[str]]]:
    """The layers of each package that has contracts of its own."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found: dict[str, list[list[str]]] = {}
    for contract in settings["contracts"]:
        for container in contract.get("containers", ()):
            found.setdefault(container, []).append(contract["layers"])
    return found


def sentence(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def drawing(graph: grimp.ImportGraph, rooms: Iterable[str]) -> str:
    """Rooms from left to right: each stands on, and imports from, those that point to it."""
    rooms = sorted(rooms)
    uses = {
        room: {other for other in rooms if other != room and imports(graph, room, other)}
        for room in rooms
    }
    labels = {room: room.removeprefix("definitions.").replace(".", "/") for room in rooms}
    lines = [f'    {node(room)}["{labels[room]}"]' for room in rooms]
    lines += [
        f"    {node(lower)} --> {node(upper)}"
        for upper in rooms
        for lower in sorted(uses[upper] - reached(uses, uses[upper]))
    ]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```", ""])


def node(room: str) -> str:
    """A name that Mermaid takes."""
    return room.replace(".", "_")


def imports(graph: grimp.ImportGraph, room: str, other: str) -> bool:
    """Whether a module of a room imports one of another."""
    return graph.direct_import_exists(
        importer=f"{PACKAGE}.{room}", imported=f"{PACKAGE}.{other}", as_packages=True
    )


def reached(uses: Mapping[str, set[str]], rooms: Iterable[str]) -> set[str]:
    """All that rooms stand on by way of others."""
    found: set[str] = set()
    waiting = [below for room in rooms for below in uses[room]]
    while waiting:
        room = waiting.pop()
        if room not in found:
            found.add(room)
            waiting += uses[room]
    return found


if __name__ == "__main__":
    PAGE.write_text(made())
    print(f"wrote {PAGE.relative_to(ROOT)}")
