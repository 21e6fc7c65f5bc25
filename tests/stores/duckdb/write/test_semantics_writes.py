"""The semantics of writing: provenance, data versions and replacing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from videos import T, clips, derived, store_of, video
from worlds import catch_up, rows, statuses, versions

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureKey,
    FeatureSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import WriteResult

GROUPED = LineageRelationship.aggregation

EXPANDED = LineageRelationship.expansion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.duckdb"


# Provenance


def test_a_write_carries_the_provenance_it_was_computed_from(path: Path) -> None:
    """Upstream moved between resolve and write: the sample shows as stale again."""
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    old = store.resolve_update("out")
    frame = old.new.collect().to_native()
    store.write("video", clips({1: "b"}))
    store.write("out", T({"id": [1]}), increment=old)
    assert statuses(store.resolve_update("out")) == {"stale": [1]}
    store.write("out", frame.select(["id", c.COL_PROVENANCE_BY_FIELD]))
    assert statuses(store.resolve_update("out")) == {"stale": [1]}
    catch_up(store, "out")
    assert statuses(store.resolve_update("out")) == {}


def test_an_increments_own_frame_can_be_written_as_it_is(path: Path) -> None:
    store = store_of(path, video(), derived("out", FeatureDep("video", select=["sound"])))
    store.write("video", clips({1: "a", 2: "b"}))
    frame = store.resolve_update("out").pending
    store.write("out", frame.with_columns(length=nw.lit(3)))
    assert statuses(store.resolve_update("out")) == {}
    assert rows(store, "out")[0] == {"id": 1, "sound": "a", "length": 3}


def test_a_derived_frame_without_provenance_is_refused_with_the_remedy(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    with pytest.raises(FrameError, match="increment=increment"):
        store.write("out", T({"id": [1]}))


def test_samples_that_are_not_returned_stay_pending(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    store.write("out", T({"id": [2]}), increment=store.resolve_update("out"))
    assert statuses(store.resolve_update("out")) == {"new": [1]}


def test_an_answer_of_nothing_says_so(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    nothing = WriteResult(FeatureKey("out"), 0, 0, 0, 0, 0)
    assert store.write("out", T({}), increment=store.resolve_update("out")) == nothing
    catch_up(store, "out")
    store.write("video", clips({1: "b"}))
    assert store.write("out", T({}), increment=store.resolve_update("out")) == nothing
    assert statuses(store.resolve_update("out")) == {"stale": [1]}


def test_a_users_data_version_is_what_downstream_follows(path: Path) -> None:
    store = store_of(path, video(), derived(), derived("last", "out"))

    def compute(version: str | None) -> None:
        frame = T({"id": [1], c.COL_DATA_VERSION_BY_FIELD: [{"default": version}]})
        store.write("out", frame, increment=store.resolve_update("out"))

    store.write("video", clips({1: "a"}))
    compute("same")
    catch_up(store, "last")
    store.write("video", clips({1: "b"}))
    compute("same")
    assert versions(store, "out") == {1: {"default": "same"}}
    assert statuses(store.resolve_update("last")) == {}
    store.write("video", clips({1: "c"}))
    compute("other")
    assert statuses(store.resolve_update("last")) == {"stale": [1]}


def test_a_data_version_may_be_given_for_some_fields_and_some_samples(path: Path) -> None:
    """The others follow what they were computed from."""
    store = store_of(path, video(), derived(fields=["a", "b"]))
    store.write("video", clips({1: "x", 2: "y"}))
    store.write(
        "out",
        T({"id": [1, 2], c.COL_DATA_VERSION_BY_FIELD: [{"a": "mine"}, {"a": None}]}),
        increment=store.resolve_update("out"),
    )
    found = {row["id"]: row for row in store.read("out").collect().to_native().to_pylist()}
    one, two = (found[n][c.COL_PROVENANCE_BY_FIELD] for n in (1, 2))
    assert versions(store, "out") == {1: {"a": "mine", "b": one["b"]}, 2: two}
    assert found[2][c.COL_DATA_VERSION] == found[2][c.COL_PROVENANCE]
    assert found[1][c.COL_DATA_VERSION] != found[1][c.COL_PROVENANCE]


def test_a_roots_provenance_may_be_given(path: Path) -> None:
    store = store_of(path, video(), derived())
    given = pa.array([{"audio": "sha-1", "frames": "sha-2"}])
    store.write("video", clips({1: "a"}).append_column(c.COL_PROVENANCE_BY_FIELD, given))
    catch_up(store, "out")
    changed = clips({1: "other content"}).append_column(c.COL_PROVENANCE_BY_FIELD, given)
    store.write("video", changed)
    assert rows(store, "video")[0]["sound"] == "other content"
    assert statuses(store.resolve_update("out")) == {}


@pytest.mark.parametrize("text", ["sha-1", "f" * 32, "f" * 31 + "é"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("names", [("audio", "frames"), ("frames", "audio")])
def test_given_provenance_counts_by_name_and_value(
    tmp_path: Path, names: tuple[str, str], kind: pa.DataType, text: str
) -> None:
    """In whatever type and order of fields, and of whatever length it comes."""
    given = {"frames": f"f{text[1:]}", "audio": f"a{text[1:]}"}
    whole = []
    for number, type_ in enumerate((pa.struct([(n, kind) for n in names]), None)):
        store = store_of(tmp_path / f"{number}.duckdb", video())
        column = pa.array([given], type_)
        store.write("video", clips({1: "a"}).append_column(c.COL_PROVENANCE_BY_FIELD, column))
        [row] = store.read_table("video").to_pylist()
        assert row[c.COL_PROVENANCE_BY_FIELD] == given
        whole.append(row[c.COL_PROVENANCE])
    parts = "".join(f"{len(t.encode())}:{t}" for pair in sorted(given.items()) for t in pair)
    assert whole == [hashlib.md5(parts.encode()).hexdigest()] * 2  # noqa: S324 - as stored


def test_a_roots_provenance_is_its_content_alone(path: Path) -> None:
    """Not its ids, nor the data versions that the frame brings."""
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]))
    mine = [{"default": "mine"}, {"default": "yours"}, None]
    store.write("clip", T({"id": [1, 2, 3], "x": [0, 0, 1], c.COL_DATA_VERSION_BY_FIELD: mine}))
    one, two, three = store.read_table("clip").column(c.COL_PROVENANCE).to_pylist()
    assert one == two != three


def test_a_recomputed_legacy_table_propagates_only_what_changed(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b", 3: "c"}))
    catch_up(store, "out")
    result = store.write("video", clips({3: "c", 2: "B", 1: "a"}), mode="replace")
    assert (result.new, result.updated, result.unchanged, result.deleted) == (0, 1, 2, 0)
    assert statuses(store.resolve_update("out")) == {"stale": [2]}


# Writes, deletes, history


def test_an_identical_rewrite_is_no_commit(path: Path) -> None:
    store = store_of(path, video())
    first = store.write("video", clips({1: "a", 2: "b"}))
    before = store.data_version("video")
    again = store.write("video", clips({2: "b", 1: "a"}), mode="replace")
    assert (first.commit, again.commit, again.unchanged) == (1, 0, 2)
    assert store.data_version("video") == before
    assert store.read("video", history=True).collect().to_native().num_rows == 2


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"x": [None]}, {"x": [None]}, False),
        ({"x": [None]}, {"x": [1]}, True),
        ({"x": [1]}, {"x": [None]}, True),
        ({"x": [1], "y": [2]}, {"x": [1]}, True),
        ({"x": [1], "y": [None]}, {"x": [1]}, False),
        ({"x": [1]}, {"x": [1], "y": [None]}, False),
        ({}, {c.COL_DATA_VERSION_BY_FIELD: [{"default": "a"}]}, True),
        ({c.COL_DATA_VERSION_BY_FIELD: [{"default": "a"}]}, {}, True),
        (
            {c.COL_DATA_VERSION_BY_FIELD: [{"default": "a"}]},
            {c.COL_DATA_VERSION_BY_FIELD: [{"default": "b"}]},
            True,
        ),
    ],
)
def test_a_rewrite_is_a_change_if_anything_differs(
    path: Path, before: Any, after: Any, *, changes: bool
) -> None:
    """With the same provenance: a value, a column that is dropped, a version of one's own."""
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a"}))
    increment = store.resolve_update("out")

    def frame(columns: Any) -> pa.Table:
        kinds = {"x": pa.int64(), "y": pa.int64()}
        return T({"id": [1], **{n: pa.array(v, kinds.get(n)) for n, v in columns.items()}})

    store.write("out", frame(before), increment=increment)
    version = store.data_version("out")
    result = store.write("out", frame(after), increment=increment, mode="replace")
    assert (result.updated, result.unchanged) == ((1, 0) if changes else (0, 1))
    versions_differ = c.COL_DATA_VERSION_BY_FIELD in {*before, *after}
    assert (store.data_version("out") != version) == versions_differ
    assert [str(key) for key in store.features()] == ["out", "video"]


def test_rows_name_the_run_that_wrote_them(path: Path) -> None:
    store = store_of(path, video())
    store.write("video", clips({1: "a", 2: "b"}), materialization_id="one")
    store.write("video", clips({1: "a", 2: "c", 3: "d"}), materialization_id="two")
    found = store.read("video", columns=["id", c.COL_MATERIALIZATION_ID], history=True).collect()
    assert sorted(found.rows()) == [(1, "one"), (2, "one"), (2, "two"), (3, "two")]


def test_a_root_written_again_under_its_new_code_version_is_not_stale(path: Path) -> None:
    samples = clips({1: "a", 2: "b"})
    store_of(path, video()).write("video", samples)
    store = store_of(path, video(audio="2"))
    assert statuses(store.resolve_update("video", samples=samples)) == {"stale": [1, 2]}
    assert store.write("video", samples).updated == 2
    assert statuses(store.resolve_update("video", samples=samples)) == {}


def test_a_sample_that_is_deleted_for_two_reasons_is_deleted_once(path: Path) -> None:
    """The frame lacks it, and it is orphaned."""
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    catch_up(store, "out")
    store.write("video", clips({1: "A"}), mode="replace")
    increment = store.resolve_update("out")
    frame = T({"id": [1]})
    options: Any = {"mode": "replace", "delete_orphaned": True}
    assert store.write("out", frame, increment=increment, **options).deleted == 1
    history = store.read("out", columns=["id"], history=True).collect()["id"].to_list()
    assert sorted(history) == [1, 1, 2]


def test_the_data_version_moves_with_every_change_and_back(path: Path) -> None:
    store = store_of(path, video())
    seen = [store.data_version("video")]
    for state in ({1: "a"}, {1: "a", 2: "b"}, {1: "b", 2: "a"}, {2: "b"}):
        store.write("video", clips(state), mode="replace")
        seen.append(store.data_version("video"))
    assert len(set(seen)) == 5
    store.write("video", clips({2: "b", 1: "a"}), mode="replace")
    assert store.data_version("video") == seen[2]


def test_replace_deletes_what_the_frame_lacks_within_its_scope(path: Path) -> None:
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]))
    store.write("clip", T({"id": [1, 2, 3], "part": ["a", "a", "b"]}))
    result = store.write("clip", T({"id": [1], "part": ["a"]}), mode="replace", scope="part = 'a'")
    assert result.deleted == 1
    assert rows(store, "clip", ["id"]) == [{"id": 1}, {"id": 3}]


def test_a_scope_may_be_any_condition(path: Path) -> None:
    store = store_of(path, FeatureSpec("clip", id_columns=["id"]))
    store.write("clip", T({"id": [1, 2, 3], "part": ["a", "b", "c"]}))
    scope = "part = 'a' OR part = 'b'"
    frame = T({"id": [1], "part": ["a"]})
    with pytest.raises(FrameError, match="1 of 2"):
        store.write("clip", frame, mode="replace", scope=scope, max_deleted_share=0.4)
    assert store.write("clip", frame, mode="replace", scope=scope).deleted == 1
    assert rows(store, "clip", ["id"]) == [{"id": 1}, {"id": 3}]


def test_samples_of_several_ids_are_told_apart_by_all_of_them(path: Path) -> None:
    store = store_of(path, FeatureSpec("shot", id_columns=["id", "n"]))
    store.write("shot", T({"id": [1, 1, 2], "n": [1, 2, 1], "x": [0, 0, 0]}))
    result = store.write("shot", T({"id": [1, 1], "n": [2, 3], "x": [5, 5]}), mode="replace")
    assert (result.new, result.updated, result.deleted) == (1, 1, 2)
    store.write("shot", T({"id": [1], "n": [3], "x": [6]}))
    assert store.delete("shot", filters="n = 2", soft=False).deleted == 1
    history = store.read("shot", columns=["id", "n", "x"], history=True).collect().rows()
    assert sorted(history) == [(1, 1, 0), (1, 3, 5), (1, 3, 6), (2, 1, 0)]


def test_a_guard_keeps_a_replace_from_deleting_too_much(path: Path) -> None:
    store = store_of(path, video())
    store.write("video", clips({1: "a", 2: "b", 3: "c"}))
    with pytest.raises(FrameError, match="2 of 3"):
        store.write("video", clips({1: "a"}), mode="replace", max_deleted_share=0.6)
    assert store.count("video") == 3
    store.write("video", clips({1: "a", 2: "b"}), mode="replace", max_deleted_share=0.6)
    assert store.count("video") == 2
    store.write("video", clips({1: "a"}), mode="replace", max_deleted_share=0.5)
    assert store.count("video") == 1


def test_a_guard_is_for_a_replace_alone(path: Path) -> None:
    store = store_of(path, video(), derived())
    store.write("video", clips({1: "a", 2: "b"}))
    catch_up(store, "out")
    store.delete("video", filters="id = 1")
    store.write("video", clips({3: "c"}))
    increment = store.resolve_update("out")
    result = store.write(
        "out", T({"id": [3]}), increment=increment, delete_orphaned=True, max_deleted_share=0.0
    )
    assert (result.new, result.deleted) == (1, 1)
