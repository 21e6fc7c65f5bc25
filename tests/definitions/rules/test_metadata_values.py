"""Metadata keys that nobody reads are told of, and all bad values of all keys at once."""

from __future__ import annotations

import dagster as dg
import pytest

import metaxy_dagster as mxd
from metaxy_dagster import constants

KEYS = {"metaxy/feature": "x", "metaxy/id_columns": ["id"]}

#: What somebody wrote, and what was meant.
MISSPELT = {
    "metaxy/inputs": "metaxy/input",
    "metaxy/batchsize": "metaxy/batch_size",
    "metaxy/batch-size": "metaxy/batch_size",
    "metaxy/fieldz": "metaxy/fields",
    "metaxy/dep": "metaxy/deps",
    "metaxy/unreturn": "metaxy/unreturned",
    "metaxy/wirte": "metaxy/write",
    "metaxy/partitions": "metaxy/partition",
    "metaxy/partition_by": "partition_by",
    "metaxy/check": "metaxy/checks",
    "metaxy_input": "metaxy/input",
    "metaxy.input": "metaxy/input",
    "metaxy:input": "metaxy/input",
    "Metaxy/Input": "metaxy/input",
    "metaxy/mode": "metaxy/input",
    "metaxy/code_version": "metaxy/fields",
}


def plan_of(metadata, **options):
    spec = dg.AssetSpec("x", metadata=metadata, **options)
    return mxd.plan_definitions(dg.Definitions(assets=[spec]), features=[])


@pytest.mark.parametrize("key", MISSPELT)
def test_a_misspelt_key_is_a_fault(key):
    (error,) = plan_of({**KEYS, key: "all"}).errors
    assert error.problem == f'nothing reads the metadata key "{key}"'
    assert error.remedy.startswith(f'did you mean "{MISSPELT[key]}"?')


@pytest.mark.parametrize("key", ["metaxy/featur", "metaxy/features", "metaxy_feature"])
def test_a_misspelt_feature_leaves_no_asset_out_silently(key):
    (error,) = plan_of({key: "x"}).errors
    assert 'did you mean "metaxy/feature"?' in error.remedy


def test_other_keys_of_the_kind_are_warned_of():
    plan = plan_of({**KEYS, "metaxy/owner_of_the_lake": "ann", "metaxys": 1, "lake/input": 2})
    assert plan.errors == ()
    (notice,) = (each for each in plan.notices if each.kind == "metadata")
    assert '"metaxy/owner_of_the_lake"' in notice.message
    assert "metaxy/input" in notice.message


def test_a_tag_alone_ties_nothing():
    (notice,) = plan_of({}, tags={"metaxy/feature": "a.b"}).notices
    assert 'set metadata "metaxy/feature": "a.b"' in notice.message


def test_partition_by_is_looked_for_where_there_are_partitions():
    days = dg.DailyPartitionsDefinition("2024-01-01")

    def faults(**options):
        return [error.remedy for error in plan_of({**KEYS, "partition-by": "d"}, **options).errors]

    assert faults(partitions_def=days) == ['did you mean "partition_by"?']
    assert faults() == []


def test_every_key_that_is_read_or_written_is_known():
    values = [value for name, value in vars(constants).items() if name.startswith("KEY_")]
    assert not [e for e in plan_of(dict.fromkeys(values, 1) | KEYS).errors if "reads" in e.problem]


def test_a_pass_over_its_own_result_knows_its_keys():
    defs = mxd.metaxify_definitions(dg.Definitions(assets=[dg.AssetSpec("x", metadata=KEYS)]))
    again = mxd.plan_definitions(defs)
    assert (again.errors, again.notices, again.changes_anything) == ((), (), False)


def test_all_bad_values_of_all_keys_are_found_at_once():
    bad = {
        "metaxy/feature": "x",
        "metaxy/id_columns": 7,
        "metaxy/deps": 5,
        "metaxy/input": "some",
        "metaxy/write": 3,
        "metaxy/batch_size": "many",
        "metaxy/unreturned": [],
        "metaxy/partition": "p",
        "metaxy/checks": 5,
        "metaxy/codeversion": "1",
        "partition_by": 1,
    }
    said = str(mxd.MetaxyErrorGroup("faults", plan_of(bad).errors))
    named = [key for key in bad if key.removeprefix("metaxy/") in said]
    assert named == list(bad)


def test_an_invalid_feature_key_hides_no_other_fault():
    errors = plan_of({**KEYS, "metaxy/feature": "a//b", "metaxy/write": 3}).errors
    assert len(errors) == 2
    assert [error.asset for error in errors] == ["x", "x"]


BAD_VALUES = [
    ("metaxy/feature", 3),
    ("metaxy/feature", "a//b"),
    ("metaxy/id_columns", "id"),
    ("metaxy/id_columns", []),
    ("metaxy/id_columns", ["id", "ID"]),
    ("metaxy/fields", {"a": {"codeversion": "1"}}),
    ("metaxy/fields", {"a": {"deps": "u"}}),
    ("metaxy/deps", "u"),
    ("metaxy/deps", [{"feature": "u", "slect": ["a"]}]),
    ("metaxy/checks", ["pendin"]),
]


@pytest.mark.parametrize(("key", "value"), BAD_VALUES)
def test_a_bad_value_is_told_by_its_key(key, value):
    errors = plan_of({**KEYS, key: value}).errors
    assert any(key in error.problem and error.asset == "x" for error in errors), errors
