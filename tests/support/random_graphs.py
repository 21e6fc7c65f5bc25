"""Graphs that vary: what the random histories are told over.

To let something else vary, add it to :class:`Shape` and :func:`shapes`, and say in
:func:`make_graph` what it does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldsMapping,
    FieldSpec,
    LineageRelationship,
)

ROOTS = {"video": ("id",), "frame": ("id", "n"), "label": ("id",), "note": ("id", "n")}
DERIVED = ("joined", "coarse", "group", "by_g", "child", "renamed")
FILTERS = (None, "x > 1", "y = 'a' OR x IS NULL", "NOT (x BETWEEN 1 AND 2)", "y IN ('a', 'b')")
MAPPINGS = {
    "default": FieldsMapping.default(),
    "all": FieldsMapping.all(),
    "none": FieldsMapping.none(),
    "specific": FieldsMapping.specific({"x": {"y"}}),
}
# What ``coarse`` (one sample a frame) may have beside its frames: upstreams of its own grain and
# of a coarser one, as they are and aggregated.
BESIDE = {
    "video": FeatureDep("video"),
    "label": FeatureDep("label"),
    "note": FeatureDep("note"),
    "note each": FeatureDep("note", lineage=LineageRelationship.aggregation(on=["id", "n"])),
    "note by id": FeatureDep("note", lineage=LineageRelationship.aggregation(on=["id"])),
}
small = st.integers(0, 3)
value = st.one_of(st.none(), small)
text = st.sampled_from(["a", "b", "", "é", None])
FIRST = dt.datetime.fromisoformat("2024-02-01")
# Moments as text, in the ways in which people write them, and as times.
moment = st.sampled_from(
    [
        *("2024-02-01", "2024-02-01T23:59:59Z", "2024-02-02 00:30", "2024-02-02T01:00+02:00"),
        *("2024-02-03T00:00:00.5", "soon", None),
    ]
)
time = st.one_of(
    st.none(),
    st.sampled_from([FIRST + dt.timedelta(days=day, hours=h) for day in range(3) for h in (0, 23)]),
)


@dataclass(frozen=True)
class Shape:
    """What varies.

    Attributes:
        filters: of the dependency of ``joined`` on ``video``.
        mapping: of its fields.
        joined: the upstreams of ``joined`` in order, and whether each is optional.
        coarse: the same, of ``coarse``: names of ``BESIDE``, and ``frame``.
        group: the same, of ``group``.
        child: the same, of ``child``; the first that is not ``label`` is the parent.
        wider: the features that have one more field.
    """

    filters: str | None
    mapping: str
    joined: tuple[tuple[str, bool], ...]
    coarse: tuple[tuple[str, bool], ...]
    group: tuple[tuple[str, bool], ...]
    child: tuple[tuple[str, bool], ...]
    wider: frozenset[str] = frozenset()


def _deps(
    *required: str, either: tuple[str, ...] = (), some: tuple[tuple[str, ...], ...] = ()
) -> st.SearchStrategy[tuple[tuple[str, bool], ...]]:
    """Upstreams in any order: some required, some required or optional, some there or not."""

    def ordered(chosen: tuple[Any, ...]) -> st.SearchStrategy[tuple[tuple[str, bool], ...]]:
        flags, others = chosen
        found = [(name, False) for name in required]
        found += [(name, flag) for name, flag in zip(either, flags, strict=True)]
        found += [one for one in others if one is not None]
        return st.permutations(found).map(tuple)

    flags = st.tuples(*(st.booleans() for _ in either))
    others = [
        st.one_of(
            st.none(), st.tuples(st.sampled_from(names), st.sampled_from([True, True, False]))
        )
        for names in some
    ]
    return st.tuples(flags, st.tuples(*others)).flatmap(ordered)


PARTS: Mapping[str, st.SearchStrategy[Any]] = {
    "filters": st.sampled_from(FILTERS),
    "mapping": st.sampled_from(sorted(MAPPINGS)),
    "joined": _deps(either=("video", "label")),
    "coarse": _deps("frame", some=(("video",), ("note", "note each", "note by id"), ("label",))),
    "group": st.one_of(
        st.just((("frame", False),)),
        _deps("frame", some=(("label",),)),
        _deps("label", either=("frame",)),
    ),
    "child": st.one_of(
        st.just((("video", False),)), _deps("joined", some=(("label",),)), _deps("video", "label")
    ),
    "wider": st.sets(st.sampled_from(DERIVED), max_size=2).map(frozenset),
}


def shapes() -> st.SearchStrategy[Shape]:
    return st.builds(Shape, **PARTS)


def other_shapes(shape: Shape) -> st.SearchStrategy[Shape]:
    """The same but for one part."""
    return st.sampled_from(sorted(PARTS)).flatmap(
        lambda name: PARTS[name].map(lambda part: replace(shape, **{name: part}))
    )


WHEN: Mapping[str, st.SearchStrategy[Any]] = {"t": moment, "at": time}


def root_rows(ids: tuple[str, ...]) -> st.SearchStrategy[list[dict[str, Any]]]:
    keys = dict.fromkeys(ids, small)
    row = st.fixed_dictionaries(
        {**keys, "x": value, "y": text, "g": st.sampled_from(["p", "q", None]), **WHEN}
    )
    return st.lists(row, max_size=6, min_size=1, unique_by=lambda r: tuple(r[name] for name in ids))


def first_rows(root: str) -> list[dict[str, Any]]:
    """Something to work on: an empty store teaches little; notes are missing here and there."""
    return [
        {
            **dict.fromkeys(ROOTS[root], n),
            "x": n,
            "y": "ab"[n % 2],
            "g": "pq"[n % 2],
            **first_when(n),
        }
        for n in range(2 if root == "note" else 4)
    ]


def first_when(n: int) -> dict[str, Any]:
    return {"t": f"2024-02-0{1 + n % 3}", "at": FIRST + dt.timedelta(days=n % 3, hours=n)}


def derived_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of a derived feature; a column without a value has its type all the same."""
    made = pa.Table.from_pylist(rows)
    for name, kind in {"t": pa.string(), "at": pa.timestamp("us")}.items():
        made = made.set_column(made.column_names.index(name), name, made[name].cast(kind))
    return made


def table(rows: list[dict[str, Any]], ids: tuple[str, ...]) -> pa.Table:
    kinds = {"x": pa.int64(), "y": pa.string(), "g": pa.string()}
    kinds |= {"t": pa.string(), "at": pa.timestamp("us")}
    schema = pa.schema([*((n, pa.int64()) for n in ids), *kinds.items()])
    return pa.Table.from_pylist(rows, schema=schema)


def make_graph(shape: Shape, versions: Mapping[str, int]) -> FeatureGraph:
    """The graph of a shape.

    Args:
        shape: what varies.
        versions: code versions by ``feature:field``; 1 by default.
    """
    graph = FeatureGraph()

    def add(key: str, ids: tuple[str, ...], fields: str, deps: list[FeatureDep]) -> None:
        names = [*fields, *("w" if key in shape.wider else "")]
        specs = [FieldSpec(n, code_version=str(versions.get(f"{key}:{n}", 1))) for n in names]
        graph.add(FeatureSpec(key, id_columns=ids, fields=specs, deps=deps))

    for root, ids in ROOTS.items():
        fields = [
            FieldSpec(n, code_version=str(versions.get(f"{root}:{n}", 1)), columns=[n])
            for n in "xy"
        ]
        graph.add(FeatureSpec(root, id_columns=ids, fields=fields))
    pair = {
        "video": FeatureDep("video", filters=shape.filters, fields_mapping=MAPPINGS[shape.mapping]),
        "label": FeatureDep("label"),
    }
    frames = FeatureDep(
        "frame", filters=shape.filters, lineage=LineageRelationship.aggregation(on=["id"])
    )
    parents = {
        name: FeatureDep(name, lineage=LineageRelationship.expansion())
        for name in ("video", "joined")
    }
    add("joined", ("id",), "xz", _placed(shape.joined, pair))
    add("coarse", ("id", "n"), "x", _placed(shape.coarse, {**BESIDE, "frame": FeatureDep("frame")}))
    add("group", ("id",), "x", _placed(shape.group, {**BESIDE, "frame": frames}))
    by_g = FeatureDep("video", lineage=LineageRelationship.aggregation(on=["g"]))
    add("by_g", ("g",), "x", [by_g])
    add("child", ("id", "k"), "x", _placed(shape.child, {**BESIDE, **parents}))
    add("renamed", ("key",), "x", [FeatureDep("joined", rename={"id": "key"})])
    return graph


def _placed(
    order: tuple[tuple[str, bool], ...], known: Mapping[str, FeatureDep]
) -> list[FeatureDep]:
    """Dependencies in their order; only the first brings columns, whose names they all share."""
    deps = [known[name].model_copy(update={"optional": flag}) for name, flag in order]
    return deps[:1] + [dep.model_copy(update={"select": ()}) for dep in deps[1:]]
