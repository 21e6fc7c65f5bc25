"""A resolve with filters looks at few samples, and finds what a look at all of them would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings
from videos import store_of
from worlds import statuses

from metaxy_dagster.constants import COL_FEATURE_VERSION, COL_PROVENANCE_BY_FIELD
from metaxy_dagster.features import FeatureDep, FeatureSpec, LineageRelationship
from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.resolve.narrowing import Narrowing

GROUPS = LineageRelationship.aggregation(on=["video"])
PARTS = LineageRelationship.expansion()
SPECS = (
    FeatureSpec("frame", id_columns=["video", "n"]),
    FeatureSpec("video", id_columns=["video"]),
    FeatureSpec("note", id_columns=["video", "n"]),
    FeatureSpec("copy", id_columns=["video", "n"], deps=["frame"]),
    FeatureSpec(
        "joined",
        id_columns=["video", "n"],
        deps=[
            "frame",
            FeatureDep("video", rename={"day": "video_day", "v": "w"}),
            FeatureDep("note", select=[], optional=True),
        ],
    ),
    FeatureSpec(
        "any",
        id_columns=["video", "n"],
        deps=[FeatureDep("frame", optional=True), FeatureDep("note", select=[], optional=True)],
    ),
    FeatureSpec("total", id_columns=["video"], deps=[FeatureDep("frame", lineage=GROUPS)]),
    FeatureSpec("crop", id_columns=["video", "k"], deps=[FeatureDep("video", lineage=PARTS)]),
)
DERIVED = ("copy", "joined", "any", "total", "crop")
FILTERS: tuple[tuple[str, Any], ...] = (
    *((feature, "day = 'a'") for feature in ("copy", "joined", "any", "crop")),
    ("copy", "day IS NULL OR NOT (day = 'b')"),
    ("copy", ["day <> 'a'", "n < 2"]),
    ("joined", "n = 1"),
    *((feature, "video = 1") for feature in DERIVED),
    *((feature, {"frame": "day = 'a'", feature: "day = 'a'"}) for feature in DERIVED[:-1]),
    ("joined", {"video": "day = 'a'"}),
    ("copy", {"copy": "day = 'a'"}),
    # A column of the upstream that the feature does not store.
    ("copy", "v = 1"),
    ("copy", ["v = 0", "day = 'a'"]),
)
EXAMPLES = 6
BY_FRAME = 1
DAYS = st.sampled_from(["a", "b", None])
IDS = st.tuples(st.integers(0, 2), st.integers(0, 2))
ROOTS = st.dictionaries(IDS, st.tuples(DAYS, st.integers(0, 1)), min_size=1, max_size=6)
STEP = st.one_of(
    st.tuples(st.sampled_from(["frame", "note", "video"]), ROOTS),
    st.tuples(st.just("delete"), st.sampled_from(["frame", "video"]), st.integers(0, 2)),
    st.tuples(st.just("answer"), st.sampled_from(DERIVED), DAYS, st.integers(1, 4)),
)


def step(store: DuckDBMetadataStore, action: tuple[Any, ...]) -> None:
    """Roots are written or deleted; derived rows get a partition of their own, which may move."""
    match action:
        case ("delete", feature, video):
            store.delete(feature, filters=f"video = {video}")
        case ("answer", feature, day, share):
            increment = store.resolve_update(feature)
            names = [*increment.sample_columns, COL_PROVENANCE_BY_FIELD, COL_FEATURE_VERSION]
            found = increment.pending.collect().to_native().select(names).to_pylist()[::share]
            found = [{**one, "day": day} for one in found]
            if feature == "crop":
                found = [{**one, "k": k} for one in found for k in range(2)]
            if found:
                table = pa.Table.from_pylist(found)
                days = pa.array([day] * len(found), pa.string())
                table = table.set_column(table.column_names.index("day"), "day", days)
                # Without it, no watermark is moved.
                answered = None if share == BY_FRAME else increment
                store.write(feature, table, increment=answered)
        case (feature, rows):
            table = pa.table(
                {
                    "video": [video for video, _ in rows],
                    "n": [n for _, n in rows],
                    "day": pa.array([day for day, _ in rows.values()], pa.string()),
                    "v": [value for _, value in rows.values()],
                }
            )
            if feature == "video":
                first = {video: i for i, (video, _) in enumerate(rows)}
                table = table.take(list(first.values())).drop_columns(["n"])
            store.write(feature, table)


def both(folder: Path) -> tuple[DuckDBMetadataStore, DuckDBMetadataStore]:
    """One file, looked at by filters first, and as a whole."""
    stores = [store_of(folder / "m.duckdb", *SPECS) for _ in range(2)]
    shares = (1.0, 0.0)
    narrow, full = (
        DuckDBMetadataStore(one.path, graph=one.graph, max_incremental_share=share)
        for one, share in zip(stores, shares, strict=True)
    )
    return narrow, full


BEGIN = [
    ("frame", {(v, n): ("ab"[n % 2], 0) for v in range(3) for n in range(3)}),
    ("video", {(v, 0): ("ab"[v % 2], 0) for v in range(3)}),
    ("note", {(0, 0): ("a", 0), (9, 9): ("a", 0)}),
    *(("answer", feature, "a", BY_FRAME) for feature in DERIVED),
]


OPTIONS: tuple[dict[str, Any], ...] = ({}, {"keep_unchanged": True}, {"stale_when": "day = 'b'"})


@given(steps=st.lists(STEP, max_size=8))
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_filters_find_is_what_a_look_at_all_samples_finds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    narrow, full = both(tmp_path_factory.mktemp("store"))
    for action in [*BEGIN, *steps]:
        step(full, action)
    for number, (feature, filters) in enumerate(FILTERS):
        options = OPTIONS[(number + len(steps)) % len(OPTIONS)]
        found, wanted = (
            sorted(
                map(repr, one.resolve_update(feature, filters=filters, **options).delta.to_pylist())
            )
            for one in (narrow, full)
        )
        assert found == wanted, (feature, filters, options)


@pytest.mark.parametrize("filters", ["day = 'b'", {"frame": "day = 'b'", "copy": "day = 'b'"}])
def test_only_samples_in_scope_are_looked_at(
    filters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample that moves to another partition is looked at from there, and from where it was."""
    narrow, full = both(tmp_path)
    step(full, BEGIN[0])
    # By the frame alone, so that no watermark tells that all is done.
    full.write("copy", full.resolve_update("copy").new.collect())
    seen: list[int | None] = []
    original = Narrowing.collect

    def collect(*args: Any, **options: Any) -> int | None:
        seen.append(original(*args, **options))
        return seen[-1]

    monkeypatch.setattr(Narrowing, "collect", collect)
    assert narrow.resolve_update("copy", filters=filters).counts.stale == 0
    assert seen.pop() == 3
    step(full, ("frame", {(0, 0): ("b", 5)}))
    assert statuses(narrow.resolve_update("copy", filters=filters)) == {"stale": [(0, 0)]}
    assert set(seen) == {4}
