"""Random graphs and histories: the store must agree with the naive oracle after every step."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from metaxy_dagster import constants as c
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureKey,
    FeatureSpec,
    FieldsMapping,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.increment import STATUS
from oracle import Oracle, Row

STATUSES = ("new", "stale", "orphaned")
ROOTS = {"video": ("id",), "frame": ("id", "n"), "label": ("id",)}
FILTERS = (None, "x > 1", "y = 'a' OR x IS NULL", "NOT (x BETWEEN 1 AND 2)", "y IN ('a', 'b')")
small = st.integers(0, 3)
value = st.one_of(st.none(), small)
text = st.sampled_from(["a", "b", "", "é", None])


def root_rows(ids: tuple[str, ...]) -> st.SearchStrategy[list[dict[str, Any]]]:
    keys = dict.fromkeys(ids, small)
    row = st.fixed_dictionaries(
        {**keys, "x": value, "y": text, "g": st.sampled_from(["p", "q", None])}
    )
    return st.lists(row, max_size=6, min_size=1, unique_by=lambda r: tuple(r[name] for name in ids))


def table(rows: list[dict[str, Any]], ids: tuple[str, ...]) -> pa.Table:
    kinds = {"x": pa.int64(), "y": pa.string(), "g": pa.string()}
    schema = pa.schema([*((n, pa.int64()) for n in ids), *kinds.items()])
    return pa.Table.from_pylist(rows, schema=schema)


class Machine(RuleBasedStateMachine):
    """Drives a store and the oracle side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "m.duckdb"
        self.versions: dict[str, int] = {}
        self.held: list[tuple[str, Increment, dict[Any, Any]]] = []
        self.touched: set[str] = set()
        self.steps = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(
        optional=st.booleans(),
        both_optional=st.booleans(),
        filters=st.sampled_from(FILTERS),
        mapping=st.sampled_from(["default", "all", "none", "specific"]),
        children=st.booleans(),
        first=st.sampled_from(
            [(), ("joined", "coarse"), ("joined", "group", "by_g", "child", "coarse")]
        ),
    )
    def declare(  # noqa: PLR0917 - hypothesis passes them by name
        self,
        optional: bool,
        both_optional: bool,
        filters: str | None,
        mapping: str,
        children: bool,
        first: tuple[str, ...],
    ) -> None:
        self.shape = (optional, both_optional, filters, mapping, children)
        self.build()
        self.oracle = Oracle(self.graph)
        # Something to work on: an empty store teaches little.
        for root, ids in ROOTS.items():
            rows = [
                {
                    **dict.fromkeys(ids, number),
                    "x": number,
                    "y": "ab"[number % 2],
                    "g": "pq"[number % 2],
                }
                for number in range(4)
            ]
            self.store.write(root, table(rows, ids))
            self.oracle.rows[root] = self.read(root)
        for key in first:
            self.complete(key)
            self.touched.add(key)

    def field(self, feature: str, name: str, **more: Any) -> FieldSpec:
        return FieldSpec(name, code_version=str(self.versions.get(f"{feature}:{name}", 1)), **more)

    def build(self) -> None:
        optional, both_optional, filters, mapping, children = self.shape
        graph = FeatureGraph()
        for root, ids in ROOTS.items():
            fields = [self.field(root, "x", columns=["x"]), self.field(root, "y", columns=["y"])]
            graph.add(FeatureSpec(root, id_columns=ids, fields=fields))
        mapped = {
            "default": FieldsMapping.default(),
            "all": FieldsMapping.all(),
            "none": FieldsMapping.none(),
            "specific": FieldsMapping.specific({"x": {"y"}}),
        }[mapping]
        pair = [
            FeatureDep("video", filters=filters, fields_mapping=mapped, optional=both_optional),
            FeatureDep("label", optional=optional or both_optional),
        ]
        specs = [
            FeatureSpec(
                "joined",
                id_columns=["id"],
                deps=pair,
                fields=[self.field("joined", "x"), self.field("joined", "z")],
            ),
            FeatureSpec(
                "coarse",
                id_columns=["id", "n"],
                deps=["frame", "video"],
                fields=[self.field("coarse", "x")],
            ),
            FeatureSpec(
                "group",
                id_columns=["id"],
                fields=[self.field("group", "x")],
                deps=[
                    FeatureDep(
                        "frame", filters=filters, lineage=LineageRelationship.aggregation(on=["id"])
                    )
                ],
            ),
            FeatureSpec(
                "by_g",
                id_columns=["g"],
                fields=[self.field("by_g", "x")],
                deps=[FeatureDep("video", lineage=LineageRelationship.aggregation(on=["g"]))],
            ),
            FeatureSpec(
                "child",
                id_columns=["id", "k"],
                fields=[self.field("child", "x")],
                deps=[
                    FeatureDep(
                        "joined" if children else "video", lineage=LineageRelationship.expansion()
                    )
                ],
            ),
            FeatureSpec(
                "renamed",
                id_columns=["key"],
                fields=[self.field("renamed", "x")],
                deps=[FeatureDep("joined", rename={"id": "key"})],
            ),
        ]
        for spec in specs:
            graph.add(spec)
        self.derived = [str(spec.key) for spec in specs]
        self.graph = graph
        # The incremental path always, and the full one always, on the same file.
        self.store = DuckDBMetadataStore(self.path, graph=graph, max_incremental_share=1e9)
        self.full = DuckDBMetadataStore(self.path, graph=graph, max_incremental_share=0)
        if hasattr(self, "oracle"):
            self.oracle.graph = graph

    @rule(data=st.data(), root=st.sampled_from(sorted(ROOTS)), replace=st.booleans())
    def write_root(self, data: st.DataObject, root: str, replace: bool) -> None:
        rows = data.draw(root_rows(ROOTS[root]))
        frame = table(rows, ROOTS[root])
        self.touched.add(root)
        before = self.store.data_version(root)
        result = self.store.write(root, frame, mode="replace" if replace else "upsert")
        # The store's own content versions are taken over: that they follow the content is
        # held by test_content.
        written = self.read(root)
        if replace:
            self.oracle.rows[root] = {}
        for row in rows:
            ids = tuple(row[n] for n in ROOTS[root])
            assert written[ids].values == row
            self.oracle.stored(root)[ids] = written[ids]
        assert (self.store.data_version(root) != before) >= bool(result.new or result.deleted)
        again = self.store.write(root, frame, mode="replace" if replace else "upsert")
        assert (again.commit, again.unchanged) == (0, len(rows))

    @rule(data=st.data(), versions=st.booleans(), orphans=st.booleans())
    def compute(self, data: st.DataObject, versions: bool, orphans: bool) -> None:
        key = data.draw(st.sampled_from(self.derived))
        increment, expected = self.store.resolve_update(key), self.oracle.expected(key)
        self.answer(data, key, increment, expected, versions=versions, orphans=orphans)

    @rule(number=st.integers(0, 5))
    def compute_all(self, number: int) -> None:
        self.complete(self.derived[number])
        self.touched.add(self.derived[number])

    @rule(number=st.integers(0, 5))
    def hold(self, number: int) -> None:
        key = self.derived[number]
        self.held.append((key, self.store.resolve_update(key), self.oracle.expected(key)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        """What was computed from an older state is stamped with that older provenance."""
        key, increment, expected = self.held.pop()
        self.answer(data, key, increment, expected, versions=False, orphans=False)

    def answer(
        self,
        data: st.DataObject,
        key: str,
        increment: Increment,
        expected: dict[Any, Any],
        *,
        versions: bool,
        orphans: bool,
    ) -> None:
        names = list(increment.sample_columns)
        pending = {
            tuple(row[n] for n in names)
            for row in increment.delta.to_pylist()
            if row[STATUS] in (0, 1)
        }
        chosen = [s for s in sorted(pending, key=repr) if data.draw(st.booleans())]
        self.touched.add(key)
        rows, written = [], []
        for sample in chosen:
            for extra in self.children(data, key):
                values = {**dict(zip(names, sample, strict=True)), **extra}
                provenance = expected[sample]
                own = {f: f"u{data.draw(small)}" for f in provenance} if versions else provenance
                rows.append({**values, c.COL_DATA_VERSION_BY_FIELD: own})
                written.append(Row(values, provenance, own, self.graph.feature_version(key)))
        gone = [tuple(r[n] for n in names) for r in increment.orphaned_ids.to_pylist()]
        if rows:
            frame = pa.Table.from_pylist(rows)
            self.store.write(key, frame, increment=increment, delete_orphaned=orphans)
            self.oracle.upsert(key, written)
        elif orphans:
            nothing = pa.table({"whatever": pa.array([], pa.int64())})
            self.store.write(key, nothing, increment=increment, delete_orphaned=True)
        if orphans:
            doomed = [
                ids
                for ids, row in self.oracle.stored(key).items()
                if tuple(row.values[n] for n in names) in gone
            ]
            self.oracle.delete(key, doomed)

    def complete(self, key: str) -> None:
        """Compute all that is pending."""
        increment, expected = self.store.resolve_update(key), self.oracle.expected(key)
        rows = []
        for sample in self.oracle.resolve(key):
            if sample not in expected:
                continue
            provenance = expected[sample]
            values = dict(zip(increment.sample_columns, sample, strict=True))
            values |= {"k": 0, "value": 1} if key == "child" else {"value": 1}
            rows.append(Row(values, provenance, provenance, self.graph.feature_version(key)))
        if rows:
            frame = pa.Table.from_pylist([row.values for row in rows])
            self.store.write(key, frame, increment=increment)
            self.oracle.upsert(key, rows)

    def children(self, data: st.DataObject, key: str) -> list[dict[str, Any]]:
        if key != "child":
            return [{"value": data.draw(small)}]
        return [{"k": k, "value": 1} for k in range(data.draw(st.integers(1, 3)))]

    @rule(data=st.data(), soft=st.booleans())
    def delete(self, data: st.DataObject, soft: bool) -> None:
        key = data.draw(st.sampled_from([*ROOTS, *self.derived]))
        ids = self.graph[FeatureKey(key)].id_columns
        column, limit = data.draw(st.sampled_from(ids)), data.draw(small)
        if column == "g":
            return
        self.touched.add(key)
        doomed = [i for i, r in self.oracle.stored(key).items() if r.values[column] > limit]
        result = self.store.delete(key, filters=f"{column} > {limit}", soft=soft)
        assert result.deleted == len(doomed)
        self.oracle.delete(key, doomed)

    @rule(data=st.data())
    def change_code(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([*ROOTS, *self.derived]))
        name = data.draw(st.sampled_from([str(f.key) for f in self.graph[FeatureKey(key)].fields]))
        slot = f"{key}:{name}"
        self.versions[slot] = 1 + (self.versions.get(slot, 1) % 3)
        self.held.clear()
        self.build()

    def read(self, key: str) -> dict[Any, Row]:
        frame = self.store.read(key).collect().to_native()
        ids = self.graph[FeatureKey(key)].id_columns
        return {
            tuple(row[n] for n in ids): Row(
                {n: v for n, v in row.items() if not n.startswith(c.PREFIX)},
                row[c.COL_PROVENANCE_BY_FIELD],
                row[c.COL_DATA_VERSION_BY_FIELD],
                row[c.COL_FEATURE_VERSION],
            )
            for row in frame.to_pylist()
        }

    @invariant()
    def increments_agree(self) -> None:
        """Each step: the incremental path against the oracle, and what was written last."""
        if not hasattr(self, "oracle"):
            return
        with self.store.connected():
            for key in self.derived:
                self.agrees(key, self.store.resolve_update(key))
            counted = self.derived[self.steps % len(self.derived)]
            self.counts_agree(counted)
            for key in self.touched:
                self.reads_agree(key)
            full = self.full.resolve_update(counted).delta
            narrow = self.store.resolve_update(counted)
            names = narrow.sample_columns
            assert sorted_rows(full, names) == sorted_rows(narrow.delta, names)
            if counted not in ("joined", "coarse"):  # whose upstreams share column names
                self.frames_agree(counted)
        self.steps += 1
        self.touched.clear()

    def agrees(self, key: str, increment: Increment) -> None:
        names = increment.sample_columns
        expected = self.oracle.expected(key)
        found = {}
        for row in increment.delta.to_pylist():
            sample = tuple(row[n] for n in names)
            found[sample] = STATUSES[row[STATUS]]
            if sample in expected:
                assert row[c.COL_PROVENANCE_BY_FIELD] == expected[sample]
        assert found == self.oracle.resolve(key), key

    def frames_agree(self, key: str) -> None:
        """A frame that was asked for first brings its columns along; one asked for later joins."""
        first, later = self.store.resolve_update(key), self.store.resolve_update(key)
        names = later.sample_columns
        assert later.delta.column_names
        at_once, joined = (one.pending.collect().to_native() for one in (first, later))
        assert at_once.schema.names == joined.schema.names
        assert sorted_rows(at_once, names) == sorted_rows(joined, names)
        assert sorted_rows(first.delta, names) == sorted_rows(later.delta, names)

    def counts_agree(self, key: str) -> None:
        counts = self.store.resolve_update(key).counts
        wanted = list(self.oracle.resolve(key).values())
        assert (counts.new, counts.stale, counts.orphaned) == tuple(map(wanted.count, STATUSES))

    def reads_agree(self, key: str) -> None:
        wanted = {i: (r.provenance, r.data_version) for i, r in self.oracle.stored(key).items()}
        assert {i: (r.provenance, r.data_version) for i, r in self.read(key).items()} == wanted
        assert self.store.count(key) == len(wanted)


def sorted_rows(delta: pa.Table, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return sorted(delta.to_pylist(), key=lambda row: repr([row[name] for name in names]))


TestOracle = Machine.TestCase
TestOracle.settings = settings(
    max_examples=int(os.environ.get("METAXY_ORACLE_EXAMPLES", "10")),
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
