"""The faults that mutmut has put into a copy of the package, and those that are known to be none.

A fault is named by mutmut and described by what it changes. ``explained/``, a file for each module,
lists faults that no test can notice, or need not, each with the reason; they are known by their
description, so that the list outlives an edit elsewhere in the module.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Explained", "Fault", "explain", "find_faults", "outcomes", "survived"]

EXPLAINED = Path(__file__).with_name("explained")
# SQL in small letters is the same SQL.
KEYWORDS = """
ALL ALTER AND ANTI ANY ARRAY AS ASC BEGIN BETWEEN BIGINT BLOB BOOLEAN BY CASE CAST CHECKPOINT
COALESCE COMMIT COPY COUNT CREATE CROSS DELETE DESC DISTINCT DROP ELSE END EXCEPT EXISTS FALSE FROM
FULL GROUP HAVING IN INNER INSERT INTEGER INTO IS JOIN KEY LEFT LIKE LIMIT LIST MAX MIN NAME NOT
NULL NULLS ON OR ORDER OUTER OVER PARTITION PRIMARY REPLACE RETURNING ROLLBACK SELECT SEMI SET SUM
TABLE TEMP TEMPORARY THEN TIMESTAMP TRANSACTION TRUE TRY_CAST UBIGINT UNION UPDATE USING VALUES
VARCHAR VIEW WHEN WHERE WITH
"""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: mutmut's.
        module: the path of the module, from the top of the copy.
        function: the function, with its class.
        lines: first and last line of the statement that it is in, in the module without faults.
        change: the lines of the function that it takes away and puts in, as a difference.
    """

    name: str
    module: str
    function: str
    lines: tuple[int, int]
    change: str

    @property
    def short_module(self) -> str:
        """As ``stores.duckdb.views``."""
        return self.module.removeprefix("metaxy_dagster/").removesuffix(".py").replace("/", ".")

    @property
    def number(self) -> int:
        """Which one of its function it is."""
        return int(self.name.rpartition("_")[2])


def find_faults(folder: Path) -> Iterator[Fault]:
    """The faults in a copy, in the order of their places, without those that change no SQL."""
    mutants = folder / "mutants"
    for path in sorted((mutants / "metaxy_dagster").rglob("*.meta")):
        names = list(json.loads(path.read_text())["exit_code_by_key"])
        module = str(path.relative_to(mutants)).removesuffix(".meta")
        found = _functions(mutants / module)
        places = _Places((folder / module).read_text()) if names else None
        for name in names:
            variant = name.rpartition(".")[2]
            mangled = variant.rpartition("__mutmut_")[0]
            before, after = found[f"{mangled}__mutmut_orig"], found[variant]
            if places is None or _is_same_sql(before, after):
                continue
            function = ".".join(mangled.removeprefix("x_").removeprefix("xǁ").split("ǁ"))
            lines = places.statement(function, _first_difference(before, after))
            yield Fault(name, module, function, lines, _change(before, after))


@dataclass
class Explained:
    """Faults that need no test, and why."""

    reasons: dict[tuple[str, str, str], str]

    @classmethod
    def load(cls) -> Explained:
        reasons = {}
        for path in sorted(EXPLAINED.glob("*.toml")):
            for entry in tomllib.loads(path.read_text())["left"]:
                for change in entry["faults"]:
                    reasons[path.stem, entry["function"], change.strip()] = entry["why"]
        return cls(reasons)

    def why(self, fault: Fault) -> str | None:
        return self.reasons.get((fault.short_module, fault.function, fault.change))


def outcomes(folder: Path) -> dict[str, str]:
    """What became of each fault in a copy: what one look noticed, others need not."""
    results, found = folder / "results.jsonl", dict[str, str]()
    for line in results.read_text().splitlines() if results.exists() else []:
        one = json.loads(line)
        if survived(found.get(one["name"], "survived")):
            found[one["name"]] = one["outcome"]
    return found


def survived(outcome: str | None) -> bool:
    return outcome in ("survived", "no test")


def explain(faults: Iterable[Fault], why: str) -> None:
    """Add faults of one function to those that need no test."""
    (where,) = {(fault.short_module, fault.function) for fault in faults}
    module, function = where
    changes = ",\n".join(f"'''\n{fault.change}'''" for fault in faults)
    entry = f'[[left]]\nfunction = "{function}"\nwhy = "{why}"\nfaults = [\n{changes},\n]\n'
    tomllib.loads(entry)
    with (EXPLAINED / f"{module}.toml").open("a") as file:
        file.write(("\n" if file.tell() else "") + entry)


def _functions(path: Path) -> dict[str, list[str]]:
    """Each variant of each function of a module, in lines, without its name."""
    text = path.read_text()
    lines = text.splitlines()
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
            whole = lines[node.lineno - 1 : node.end_lineno]
            name = node.name.rpartition("__mutmut_")[0].removeprefix("x_").rpartition("ǁ")[2]
            found[node.name] = [line.replace(node.name, name) for line in whole]
    return found


def _is_same_sql(before: list[str], after: list[str]) -> bool:
    """Whether nothing but keywords of SQL became small."""
    old, new = (re.findall(r"\w+", "\n".join(lines)) for lines in (before, after))
    if len(old) != len(new):
        return False
    changed = [(was, now) for was, now in zip(old, new, strict=True) if was != now]
    small = all(was.lower() == now for was, now in changed)
    return bool(changed) and small and {was for was, _ in changed} <= set(KEYWORDS.split())


def _first_difference(before: list[str], after: list[str]) -> int:
    pairs = enumerate(zip(before, after, strict=False))
    return next((place for place, (old, new) in pairs if old != new), len(before) - 1)


def _change(before: list[str], after: list[str]) -> str:
    difference = difflib.unified_diff(before, after, lineterm="", n=0)
    lines = [line for line in difference if re.match(r"[-+](?![-+])", line)]
    return "\n".join(line[0] + " " + line[1:].strip() for line in lines)


class _Places:
    """Where the functions and statements of a module are."""

    def __init__(self, text: str) -> None:
        self.functions: Mapping[str, ast.FunctionDef] = dict(_defined(ast.parse(text)))

    def statement(self, function: str, offset: int) -> tuple[int, int]:
        """The lines of the innermost statement; those of a whole function, for its first lines."""
        node = self.functions[function]
        line = node.lineno + offset
        inner: ast.stmt = node
        for child in ast.walk(node):
            if isinstance(child, ast.stmt) and child.lineno <= line <= _end(child):
                inner = max(inner, child, key=lambda one: one.lineno)
        body = getattr(inner, "body", None)
        if inner is node or not body:
            return inner.lineno, _end(inner)
        return inner.lineno, max(inner.lineno, body[0].lineno - 1)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _defined(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner
