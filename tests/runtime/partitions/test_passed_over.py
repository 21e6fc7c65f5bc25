"""What is asked of one partition does not read the others, however many there are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Self

import dagster as dg
import pyarrow as pa
import pytest

import metaxy_dagster as mxd
from metaxy_dagster.features import Filter
from metaxy_dagster.runtime.partitions.partition_choices import partition_choices
from metaxy_dagster.runtime.partitions.undecided import require_decided
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile

#: As many as DuckDB stores together, and knows the least and greatest text of.
BLOCK, BLOCKS = 122_880, 4
MONTHS = ("2023-11", "2024-01", "2024-02", "2024-04")
DAYS = dg.DailyPartitionsDefinition("2023-01-01", end_date="2025-01-01")
ODD = dg.DailyPartitionsDefinition("01.01.2023", end_date="01.01.2025", fmt="%d.%m.%Y")
KINDS = {"id": "BIGINT", "day": "VARCHAR", "odd": "VARCHAR"}
KEEP = ["id", "day", "odd"]


def within(key: str, column: str, of: dg.TimeWindowPartitionsDefinition) -> tuple[Filter, Filter]:
    """What is of a partition, and what cannot be told."""
    scope = partition_choices([key], of, {"": column})
    (found,) = scope.filters(KINDS)
    return found, scope.undecided(KINDS)[column][1]


TEXT, UNSURE = within("2024-02-15", "day", DAYS)
#: Days before months: in no order of time.
UNORDERED, _ = within("15.02.2024", "odd", ODD)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> mxd.DuckDBMetadataStore:
    """Four blocks of a month each, in both features."""
    graph = mxd.FeatureGraph()
    graph.add(mxd.FeatureSpec("root", id_columns=["id"]))
    graph.add(mxd.FeatureSpec("leaf", id_columns=["id"], deps=["root"]))
    path = tmp_path_factory.mktemp("store") / "m.duckdb"
    # Several threads would mix the months.
    store = mxd.DuckDBMetadataStore(path, graph=graph, settings={"threads": 1})
    days = [f"{MONTHS[i // BLOCK]}-{i % 28 + 1:02}" for i in range(BLOCK * BLOCKS)]
    odd = [".".join(reversed(day.split("-"))) for day in days]
    given = pa.StructArray.from_arrays([pa.array(odd)], ["default"])
    ids = {"id": range(BLOCK * BLOCKS), "day": days, "odd": odd}
    rows = pa.table({**ids, "metaxy_provenance_by_field": given})
    store.write("root", rows)
    increment = store.resolve_update("leaf")
    store.write("leaf", increment.new.select(*KEEP).sort("id"), increment=increment)
    return store


class Looking:
    """A connection that keeps how each query was done."""

    def __init__(self, inner: Any, plans: list[Any]) -> None:
        self._inner = inner
        self._plans = plans

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, sql: str, values: Any = None) -> Any:
        self._look(sql, values)
        return self._inner.execute(sql, values)

    def sql(self, sql: str, params: Any = None) -> Any:
        self._look(sql, params)
        return self._inner.sql(sql, params=params)

    def _look(self, sql: str, values: Any) -> None:
        query = re.search(r"(?<!\()\b(?:WITH|SELECT)\b.*", sql, re.DOTALL)
        if query is not None and "metaxy_store.main" in sql:
            said = f"EXPLAIN (ANALYZE, FORMAT JSON) {query[0]}"
            self._plans.append(json.loads(self._inner.execute(said, values).fetchall()[0][1]))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How the queries of a test were done."""
    found: list[Any] = []
    engine = DuckDBFile.engine
    monkeypatch.setattr(DuckDBFile, "engine", lambda file: Looking(engine(file), found))
    return found


def steps(plan: Any) -> Iterator[Any]:
    """All steps of a plan, or of several."""
    for each in plan if isinstance(plan, list) else [plan]:
        yield each
        yield from steps(each.get("operator", []))
        yield from steps(each.get("children", []))


def scanned(plans: list[Any]) -> list[int]:
    """How many rows each scan of a feature has read."""
    return [
        int(step.get("rows_scanned", step.get("operator_rows_scanned", 0)))
        for step in steps(plans)
        if str(step.get("extra_info", {}).get("Table", "")).startswith("metaxy_store.main")
    ]


def decided(plans: list[Any]) -> list[int]:
    """How many rows came to each step that reads text as a time."""
    return [
        int(below.get("intermediate_rows", below.get("operator_cardinality", 0)))
        for step in steps(plans)
        if "strptime" in json.dumps(step.get("extra_info", {}))
        for below in step.get("children") or [step]
    ]


def resolve(store: mxd.DuckDBMetadataStore) -> object:
    # What was resolved before is not gone by.
    by_feature = {"root": TEXT, "leaf": TEXT}
    return store.resolve_update("leaf", filters=by_feature, stale_when="id < 0").counts.pending


SIZE = len(range(14, BLOCK, 28))
ASKED: dict[str, tuple[Callable[[mxd.DuckDBMetadataStore], object], object]] = {
    "count": (lambda s: s.count("leaf", filters=TEXT), SIZE),
    "read_table": (lambda s: s.read_table("leaf", filters=TEXT).num_rows, SIZE),
    "read": (lambda s: len(s.read("leaf", filters=TEXT).collect()), SIZE),
    "summary": (lambda s: s.summary("leaf", filters=TEXT, preview=0).chosen, SIZE),
    "data_version": (lambda s: bool(s.data_version("leaf", filters=TEXT)), True),
    "resolve": (resolve, 0),
    "delete": (lambda s: s.delete("leaf", filters=[TEXT, "odd = '16.02.2024'"]).deleted, 0),
}


@pytest.mark.parametrize("name", ASKED)
def test_other_months_are_passed_over(
    name: str, made: mxd.DuckDBMetadataStore, plans: list[Any]
) -> None:
    ask, expected = ASKED[name]
    assert ask(made) == expected
    # A block may hold the end of one month and the begin of the next.
    assert 0 < max(scanned(plans)) <= 2 * BLOCK


ONCE = {"in no order": (UNORDERED, SIZE), "that cannot be read": (UNSURE, 0)}


@pytest.mark.parametrize("name", ONCE)
def test_a_text_of_many_rows_is_read_once(
    name: str, made: mxd.DuckDBMetadataStore, plans: list[Any]
) -> None:
    only, expected = ONCE[name]
    assert made.count("leaf", filters=only) == expected
    assert 0 < max(decided(plans)) <= len(MONTHS) * 28


def test_the_file_is_opened_once_for_values_of_no_partition(
    made: mxd.DuckDBMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    attach = DuckDBFile._attach

    def counting(file: DuckDBFile, connection: Any, mode: Any) -> None:
        opened.append(mode)
        attach(file, connection, mode)

    monkeypatch.setattr(DuckDBFile, "_attach", counting)
    scope = partition_choices(["2024-02-15"], DAYS, {"": "day"})
    require_decided(made, mxd.FeatureKey("leaf"), scope)
    assert opened == ["r"]
