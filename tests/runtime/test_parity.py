"""The page that compares names says what is so."""

import re
from pathlib import Path

import pytest

import metaxy_dagster as mxd
from metaxy_dagster import constants

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
BOX = (
    "MetaxyIOManager",
    "MetaxyStoreFromConfigResource",
    "build_feature_checks",
    "build_metaxy_multi_observation_job",
    "build_metaxy_observation_job",
    "build_pending_sensor",
    "delete",
    "each_batch",
    "feature_to_dagster_type",
    "generate_materialize_results",
    "generate_observe_results",
    "metaxify",
    "metaxify_definitions",
    "observable_metaxy_asset",
    "select_metaxy_assets",
)


@pytest.mark.parametrize("name", BOX)
def test_every_name_of_the_box_is_public_and_on_the_page(name: str) -> None:
    assert callable(getattr(mxd, name))
    assert f"`{name}" in PAGE
    assert getattr(mxd, name).__doc__


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 20
    for path, function in named:
        file = ROOT / path if path.startswith("tests/") else Path(__file__).parent / path
        assert file.exists(), path
        assert not function or f"def {function}(" in file.read_text(encoding="utf-8"), function


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY_FEATURE", "metaxy/feature"),
        ("KEY_INFO", "metaxy/info"),
        ("KIND", "metaxy"),
        ("KEY_PARTITION", "metaxy/partition"),
        ("KEY_PARTITION_BY", "partition_by"),
        ("TAG_PROJECT", "metaxy/project"),
        ("KEY_DAGSTER_ATTRIBUTES", "dagster/attributes"),
    ],
)
def test_the_keys_are_those_of_metaxy(name: str, value: str) -> None:
    assert getattr(constants, name) == value
