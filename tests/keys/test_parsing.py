from __future__ import annotations

import ast
from pathlib import Path

import dagster as dg
import pytest

import metaxy_dagster as mxd
from metaxy_dagster import constants
from metaxy_dagster.keys import AssetKeys, parse
from metaxy_dagster.keys.asset_keys import FIELDS_BY_KEY

PACKAGE = Path(mxd.__file__).parent
BAD = {
    "metaxy/feature": "",
    "metaxy/input": "some",
    "metaxy/batch_size": True,
    "metaxy/unreturned": "gone",
    "metaxy/write": "append",
    "metaxy/failed_rows": 1,
    "metaxy/max_deleted_share": float("nan"),
    "metaxy/config_version": [],
    "metaxy/partition": ["web"],
    "metaxy/checks": ["pendign"],
    "metaxy/preview": "no",
    "partition_by": "",
}


def test_every_key_at_fault_is_told_at_once() -> None:
    parsed = parse(BAD, "x")
    problems = [fault.problem for fault in parsed.faults]
    assert [key for key in FIELDS_BY_KEY if key in BAD] == [
        problem.split('"')[1] for problem in problems
    ]
    assert all(fault.asset == "x" and fault.allowed and fault.remedy for fault in parsed.faults)
    assert parsed.keys == AssetKeys()


@pytest.mark.parametrize("key", BAD)
def test_one_key_at_fault_leaves_the_others(key: str) -> None:
    good = {"metaxy/feature": "a/b", "metaxy/input": "increment", "metaxy/write": "upsert"}
    keys = parse({**good, key: BAD[key]}).keys
    for name, value in good.items():
        field = next(n for n, f in AssetKeys.model_fields.items() if f.alias == name)
        found = getattr(keys, field)
        assert (str(found) == value) is (name != key)


def test_wrapped_values_are_what_is_inside() -> None:
    plain = {
        "metaxy/feature": "a/b",
        "metaxy/id_columns": ["id"],
        "metaxy/input": "increment",
        "metaxy/batch_size": 7,
        "metaxy/max_deleted_share": 0.5,
        "metaxy/partition": {"source": ["a", "b"]},
        "metaxy/preview": False,
        "partition_by": {"day": "at"},
    }
    spec = dg.AssetSpec("x", metadata=plain)
    wrapped = {
        key: dg.MetadataValue.json(value) if isinstance(value, list | dict) else value
        for key, value in spec.metadata.items()
    }
    assert parse(wrapped) == parse(plain)
    assert parse(plain).keys.samples_per_batch == 7


def test_keys_that_go_with_increments_only() -> None:
    parsed = parse({"metaxy/feature": "a", "metaxy/batch_size": 2, "metaxy/unreturned": "empty"})
    assert [each.problem.split('"')[1] for each in parsed.conflicts] == [
        "metaxy/batch_size",
        "metaxy/unreturned",
    ]
    assert parsed.keys.samples_per_batch is None


def test_a_fault_is_one_of_the_definitions_and_of_a_run() -> None:
    (fault,) = parse({"metaxy/input": "x"}).faults
    assert isinstance(fault, mxd.DefinitionsError)
    assert isinstance(fault, mxd.RunError)


def test_no_other_room_reads_a_key_by_its_name() -> None:
    """What is allowed elsewhere: to write a key, and to name it in words."""
    names = {
        name
        for name, value in vars(constants).items()
        if name.startswith("KEY_") and value in FIELDS_BY_KEY
    }
    names.add("INLINE_KEYS")
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.is_relative_to(PACKAGE / "keys"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            read: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                read = [node.left] if isinstance(node.ops[0], ast.In | ast.NotIn) else []
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                read = [node.slice]
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get":
                read = node.args[:1]
            for each in read:
                name = getattr(each, "attr", getattr(each, "id", None))
                value = getattr(each, "value", None)
                if name in names or (isinstance(each, ast.Constant) and value in FIELDS_BY_KEY):
                    found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []
