"""The retrofitted example is the legacy one plus metadata keys, an import and one line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from places import ROOT

EXAMPLES = ROOT / "examples"
LEGACY, RETROFITTED = EXAMPLES / "digits_legacy", EXAMPLES / "digits"
MODULES = sorted(path.name for path in LEGACY.glob("*.py"))
OUR_KEYS = ("metaxy/", "partition_by")


class WithoutRetrofit(ast.NodeTransformer):
    """Takes away what a retrofit may add, and nothing else."""

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return None if ast.unparse(node) == "import metaxy_dagster as mxd" else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if ast.unparse(node) == "defs = mxd.metaxify_definitions(defs)" else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "dg.asset":
                decorator.keywords = [k for k in decorator.keywords if not self.is_ours(k)]
        return node

    @staticmethod
    def is_ours(keyword: ast.keyword) -> bool:
        return (
            keyword.arg == "metadata"
            and isinstance(keyword.value, ast.Dict)
            and all(
                isinstance(key, ast.Constant) and str(key.value).startswith(OUR_KEYS)
                for key in keyword.value.keys
            )
        )


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> dict[str, str]:
    """Every function of a module: its signature and its body."""
    found = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            found[node.name] = ast.dump(node)
    return found


def test_both_examples_have_the_same_files() -> None:
    assert sorted(path.name for path in RETROFITTED.glob("*.py")) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_no_function_differs(module: str) -> None:
    assert functions(RETROFITTED / module) == functions(LEGACY / module)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_retrofit_differs(module: str) -> None:
    retrofitted = WithoutRetrofit().visit(tree(RETROFITTED / module))
    assert ast.unparse(retrofitted) == ast.unparse(tree(LEGACY / module))


def test_the_retrofit_is_there() -> None:
    """The other tests would also pass for two copies of the legacy repository."""
    added = {
        module: len((RETROFITTED / module).read_text().splitlines())
        - len((LEGACY / module).read_text().splitlines())
        for module in MODULES
    }
    assert {module for module, lines in added.items() if lines > 0} == {
        "definitions.py",
        "images.py",
        "labels.py",
    }
    assert sum(added.values()) < 80


def test_the_legacy_example_does_without_the_library() -> None:
    assert not [module for module in MODULES if "metaxy" in (LEGACY / module).read_text()]
