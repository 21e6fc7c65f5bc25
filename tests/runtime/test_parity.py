"""The page that compares names says what is so."""

import re

import pytest
from places import ROOT, TESTS

import metaxy_dagster as mxd
from metaxy_dagster import constants

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

# The public names of the Dagster module of Metaxy 0.1.11.
METAXY = (
    "DAGSTER_METAXY_FEATURE_METADATA_KEY",
    "DAGSTER_METAXY_INFO_METADATA_KEY",
    "DAGSTER_METAXY_KIND",
    "DAGSTER_METAXY_PARTITION_KEY",
    "DAGSTER_METAXY_PROJECT_TAG_KEY",
    "FeatureStats",
    "METAXY_DAGSTER_METADATA_KEY",
    "MetaxyIOManager",
    "MetaxyOutput",
    "MetaxyStoreFromConfigResource",
    "build_column_lineage",
    "build_column_schema",
    "build_metaxy_multi_observation_job",
    "build_metaxy_observation_job",
    "build_partition_filter",
    "build_table_preview_metadata",
    "compute_feature_stats",
    "compute_stats_from_lazy_frame",
    "delete",
    "feature_to_dagster_type",
    "generate_materialize_results",
    "generate_observe_results",
    "get_partition_filter",
    "metaxify",
    "observable_metaxy_asset",
    "select_metaxy_assets",
)


@pytest.mark.parametrize("name", METAXY)
def test_every_name_of_metaxy_is_on_the_page(name: str) -> None:
    assert re.search(rf"`(\w+\.)?{name}\b", PAGE)


@pytest.mark.parametrize("name", BOX)
def test_every_name_of_the_box_is_public_and_on_the_page(name: str) -> None:
    assert callable(getattr(mxd, name))
    assert f"`{name}" in PAGE
    assert getattr(mxd, name).__doc__


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 20
    for path, function in named:
        [file] = [ROOT / path] if path.startswith("tests/") else (TESTS / "runtime").rglob(path)
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
