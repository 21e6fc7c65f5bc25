"""What rows tell: which columns identify them, how they belong together, where partitions are."""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from metaxy_dagster.cli.retrofit.id_columns import id_columns_of
from metaxy_dagster.cli.retrofit.partition_columns import partition_columns
from metaxy_dagster.cli.retrofit.relation import Upstream, related

SEVEN = dt.datetime(2026, 1, 1, 7, tzinfo=dt.UTC)
DAYS = [dt.date(2026, 1, 1), dt.date(2026, 1, 2)]


@pytest.mark.parametrize(
    ("columns", "preferred", "found"),
    [
        ({"score": [0.1, 0.2], "video_id": [1, 2]}, [], ("video_id",)),
        ({"n": [1, 2], "id": [2, 3]}, [], ("id",)),
        ({"other_id": [1, 2], "videos": ["a", "b"]}, [], ("videos",)),
        ({"other_id": [1, 2], "video_id": [5, 6]}, [], ("video_id",)),
        ({"path": ["a", "b"], "n": [1, 2]}, [], ("path",)),
        ({"n": [1, 2]}, [], ("n",)),
        ({"a_id": [1, 1], "b_id": [1, 2], "c_id": [1, 1]}, [], ("b_id",)),
        ({"a_id": [1, 1, 2], "b_id": [1, 2, 1]}, [], ("a_id", "b_id")),
        ({"x": [1, 1, 2, 2], "day": [*DAYS, *DAYS]}, [], ("x", "day")),
        ({"a_id": [1, 1, 1, 2], "b_id": [1, 1, 2, 1], "c_id": [1, 2, 1, 1]}, [], None),
        ({"a": [1.0, 2.0]}, [], None),
        ({"a": [True, False]}, [], None),
        ({"a": [[1], [2]]}, [], None),
        ({"id": [1, 1]}, [], None),
        ({"id": [1, None]}, [], None),
        ({"id": [1, 2], "frame_id": [5, 6]}, [("frame_id",)], ("frame_id",)),
        ({"id": [1, 2], "frame_id": [5, 5]}, [("frame_id",)], ("id",)),
        ({"id": [1, 2]}, [("not_there",), ()], ("id",)),
        ({"kind": pa.array(["a", "b"]).dictionary_encode()}, [], ("kind",)),
    ],
)
def test_id_columns(
    columns: dict[str, Any], preferred: list[tuple[str, ...]], found: tuple[str, ...] | None
) -> None:
    if found is None and set(columns) == {"a_id", "b_id", "c_id"}:
        found = ("a_id", "b_id", "c_id")
    assert id_columns_of(pa.table(columns), "videos", preferred) == found


VIDEO = Upstream("video", ("video",), ("video", "camera", "path"))
FRAME = Upstream("frame", ("video", "n"), ("video", "n", "jpeg"))
USER = Upstream("user", ("user",), ("user", "name"))


@pytest.mark.parametrize(
    ("ids", "upstreams", "found"),
    [
        (["video"], [], []),
        (["video"], [VIDEO], []),
        (["n", "video"], [FRAME], []),
        # Joined by what they share, where one has them all.
        (["video", "n"], [FRAME, VIDEO], []),
        (
            ["video", "n"],
            [VIDEO],
            [{"feature": "video", "lineage": {"type": "expansion", "on": ["video"]}}],
        ),
        (
            ["camera"],
            [VIDEO],
            [{"feature": "video", "lineage": {"type": "aggregation", "on": ["camera"]}}],
        ),
        (
            ["video"],
            [VIDEO, FRAME],
            [
                {"feature": "video"},
                {"feature": "frame", "lineage": {"type": "aggregation", "on": ["video"]}},
            ],
        ),
        (["video"], [USER], "its rows (video) cannot be traced to those of user (user): none"),
        (["video", "x"], [FRAME], "it shares video only"),
        (["video"], [VIDEO, USER], "cannot be traced to those of user"),
    ],
)
def test_lineage(ids: list[str], upstreams: list[Upstream], found: Any) -> None:
    told = related(ids, upstreams)
    assert found in told if isinstance(found, str) else told == found


DAILY = dg.DailyPartitionsDefinition("2026-01-01")
STATIC = dg.StaticPartitionsDefinition(["a", "b"])
MULTI = dg.MultiPartitionsDefinition({"day": DAILY, "kind": STATIC})


def rows(**columns: list[Any]) -> pa.Table:
    return pa.table(columns)


@pytest.mark.parametrize(
    ("definition", "tables", "found"),
    [
        (STATIC, {"a": rows(id=[1, 2], k=["a", "a"]), "b": rows(id=[3], k=["b"])}, "k"),
        (STATIC, {"a": rows(id=[1, 2], k=["a", "b"]), "b": rows(id=[3], k=["b"])}, None),
        (STATIC, {"a": rows(id=[1]), "b": rows(id=[3])}, None),
        (STATIC, {"a": rows(id=[1], k=[None])}, None),
        (STATIC, {"a": rows(id=[1], k=["a"]), "b": rows(id=[2])}, None),
        (STATIC, {}, None),
        (
            DAILY,
            {"2026-01-01": rows(id=[1, 2], at=[dt.datetime(2026, 1, 1, 7, tzinfo=dt.UTC)] * 2)},
            "at",
        ),
        (
            DAILY,
            {"2026-01-01": rows(id=[1], d=[DAYS[0]]), "2026-01-02": rows(id=[2], d=[DAYS[1]])},
            "d",
        ),
        (DAILY, {"2026-01-02": rows(id=[1], d=[DAYS[0]])}, None),
        (
            MULTI,
            {
                "2026-01-01|a": rows(id=[1], d=["2026-01-01"], k=["a"]),
                "2026-01-02|b": rows(id=[2], d=["2026-01-02"], k=["b"]),
            },
            {"day": "d", "kind": "k"},
        ),
        (MULTI, {"2026-01-01|a": rows(id=[1], d=["2026-01-01"])}, None),
    ],
)
def test_partition_columns(
    definition: dg.PartitionsDefinition, tables: dict[str, pa.Table], found: Any
) -> None:
    assert partition_columns(definition, tables) == found
