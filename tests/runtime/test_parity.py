"""The page that compares names says what is so."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

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


def rows() -> list[list[str]]:
    """What the page's tables say: of Metaxy, of this package, and the test."""
    cells = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    return [[one.strip() for one in row] for row in cells if row[-1].strip() != "test"]


def offered(said: str) -> Iterator[str]:
    """The names in what is said of this package; no values, and no keys of metadata."""
    for one in re.findall(r"`([^`]+)`", said):
        name = re.sub(r"\(.*", "", one).removeprefix("mxd.")
        if re.fullmatch(r"[A-Za-z_]+(\.[A-Za-z_]+)*", name) and not name.startswith("metaxy"):
            yield name


# Arguments, settings and constants of the page, which are no names of the package.
WORDS = {"None", "checks", "pending_sensor", "pending_condition", "dg", "entrypoints"}


def test_what_the_page_offers_is_there() -> None:
    """Each name in this package's column is found on ``mxd``, a store or the constants."""
    mine = PAGE.partition("## What only this package has")[2]
    named = [name for row in rows() if len(row) == 3 for name in offered(row[1])]
    named += [n for row in rows() if f"| {row[0]} |" in mine for n in offered(row[0])]
    assert len(named) >= 25
    for name in set(named) - WORDS:
        root, _, rest = name.partition(".")
        owner: Any = {"store": mxd.MetadataStore}.get(root, mxd)
        found = owner if owner is not mxd else getattr(mxd, root, getattr(constants, root, None))
        for part in filter(None, rest.split(".")):
            found = getattr(found, part, None)
        assert found is not None, name


def test_each_row_of_the_page_names_a_test() -> None:
    for row in rows():
        tests = re.findall(r"test_\w+\.py", row[-1])
        assert tests, row


#: Functions of which the page says that they take the same arguments: these of Metaxy 0.1.11.
ARGUMENTS = {
    "generate_materialize_results": ("context", "store", "specs"),
    "generate_observe_results": ("context", "store", "specs"),
    "observable_metaxy_asset": ("feature", "store_resource_key"),
    "build_metaxy_observation_job": ("asset", "store_resource_key", "tags"),
    "select_metaxy_assets": ("project", "feature"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_they_take_the_arguments_of_metaxy(name: str) -> None:
    taken = inspect.signature(getattr(mxd, name)).parameters
    assert set(ARGUMENTS[name]) <= set(taken)


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
