"""Random graphs and histories: the store must agree with the naive oracle after every step.

Several writers act in turn on one file: store objects of one process with sessions of their own,
some still with an older graph, and (in a machine of its own) another process. What one of them
resolved is written when others wrote in between.
"""

from __future__ import annotations

import copy
import datetime as dt
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from workers import answer_taken, asked_by, call, take

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
from metaxy_dagster.stores.counts import ORPHANED
from oracle import Oracle, Row

EXAMPLES = int(os.environ.get("METAXY_ORACLE_EXAMPLES", "10"))
WRITERS = 3
STATUSES = ("new", "stale", "orphaned")
ROOTS = {"video": ("id",), "frame": ("id", "n"), "label": ("id",)}
FILTERS = (None, "x > 1", "y = 'a' OR x IS NULL", "NOT (x BETWEEN 1 AND 2)", "y IN ('a', 'b')")
small = st.integers(0, 3)
value = st.one_of(st.none(), small)
text = st.sampled_from(["a", "b", "", "é", None])
writer = st.integers(0, WRITERS - 1)


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


class Taken:
    """An increment on the way to its answer: which samples it asks for, as its writer sees it."""

    def __init__(self, store: DuckDBMetadataStore, key: str) -> None:
        self.store, self.key = store, key
        self.increment = store.resolve_update(key)

    @property
    def names(self) -> tuple[str, ...]:
        return self.increment.sample_columns

    def asked(self) -> tuple[set[Any], list[Any]]:
        """The pending samples and the orphaned ones."""
        return asked_by(self.increment)

    def write(self, frame: pa.Table, **options: Any) -> None:
        self.store.write(self.key, frame, increment=self.increment, **options)


class TakenElsewhere:
    """As :class:`Taken`, by another process, which keeps the increment."""

    def __init__(self, process: ProcessPoolExecutor, store: DuckDBMetadataStore, key: str) -> None:
        self.process, self.store, self.key = process, store, key
        self.number, self.names, *found = process.submit(take, store, key).result()
        self._asked = found

    def asked(self) -> tuple[set[Any], list[Any]]:
        return self._asked

    def write(self, frame: pa.Table, **options: Any) -> None:
        self.process.submit(answer_taken, self.store, self.number, frame, options).result()


@dataclass
class Held:
    """What was resolved and is not answered yet, and what it must say whenever it is asked."""

    key: str
    taken: Taken | TakenElsewhere
    expected: dict[Any, Any]
    version: str
    then: int
    # Unknown once the past was erased.
    statuses: dict[Any, str] | None


class Machine(RuleBasedStateMachine):
    """Drives a store and the oracle side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "m.duckdb"
        self.versions: dict[str, int] = {}
        self.held: list[Held] = []
        # What sessions and lazy frames of earlier steps must still show.
        self.session: tuple[DuckDBMetadataStore, dict[str, dict[Any, Row]]] | None = None
        self.frames: list[tuple[str, nw.LazyFrame[Any], dict[Any, Row]]] = []
        # The commit as of which the oldest of them was made.
        self.since: int | None = None
        self.touched: set[str] = set()
        self.written_last: set[str] = set()
        self.steps = 0

    def teardown(self) -> None:
        self.end_session()
        self.folder.cleanup()

    # What other kinds of writers do in their own way.

    def take(self, key: str) -> Taken | TakenElsewhere:
        return Taken(self.store, key)

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a writer."""
        return getattr(self.store, name)(*args, **options)

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
        self.begin_session()

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
        self.writers = [
            DuckDBMetadataStore(self.path, graph=graph, max_incremental_share=1e9)
            for _ in range(WRITERS)
        ]
        self.store = self.writers[0]
        self.full = DuckDBMetadataStore(self.path, graph=graph, max_incremental_share=0)
        if hasattr(self, "oracle"):
            self.oracle.graph = graph

    @rule(data=st.data(), who=writer, root=st.sampled_from(sorted(ROOTS)), replace=st.booleans())
    def write_root(self, data: st.DataObject, who: int, root: str, replace: bool) -> None:
        self.store = self.writers[who]
        rows = data.draw(root_rows(ROOTS[root]))
        frame = table(rows, ROOTS[root])
        self.touched.add(root)
        before = self.store.data_version(root)
        result = self.do("write", root, frame, mode="replace" if replace else "upsert")
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

    @rule(data=st.data(), who=writer, versions=st.booleans(), orphans=st.booleans())
    def compute(self, data: st.DataObject, who: int, versions: bool, orphans: bool) -> None:
        self.store = self.writers[who]
        key = data.draw(st.sampled_from(self.derived))
        taken, expected = self.take(key), self.oracle.expected(key)
        version, now = self.graph.feature_version(key), self.oracle.now
        held = Held(key, taken, expected, version, now, self.oracle.resolve(key))
        self.answer(data, held, versions=versions, orphans=orphans)

    @rule(number=st.integers(0, 5), who=writer)
    def compute_all(self, number: int, who: int) -> None:
        self.store = self.writers[who]
        self.complete(self.derived[number])
        self.touched.add(self.derived[number])

    @rule(number=st.integers(0, 5), who=writer)
    def hold(self, number: int, who: int) -> None:
        self.store = self.writers[who]
        key = self.derived[number]
        version = self.graph.feature_version(key)
        self.keep_since()
        expected, statuses = self.oracle.expected(key), self.oracle.resolve(key)
        taken = self.take(key)
        self.held.append(Held(key, taken, expected, version, self.oracle.now, statuses))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), orphans=st.booleans(), again=st.booleans())
    def answer_late(self, data: st.DataObject, orphans: bool, again: bool) -> None:
        """What was computed from an older state is stamped with that older provenance.

        The writer may still have an older graph, and two may answer one increment.
        """
        number = data.draw(st.integers(0, len(self.held) - 1))
        held = self.held[number]
        if not again:
            del self.held[number]
        self.answer(data, held, versions=False, orphans=orphans)

    def answer(self, data: st.DataObject, held: Held, *, versions: bool, orphans: bool) -> None:
        key, taken, expected, version = held.key, held.taken, held.expected, held.version
        names = list(taken.names)
        pending, gone = taken.asked()
        if held.statuses is not None:
            assert pending == {s for s, status in held.statuses.items() if status != "orphaned"}
            assert set(gone) == held.statuses.keys() - pending
        chosen = [s for s in sorted(pending, key=repr) if data.draw(st.booleans())]
        self.touched.add(key)
        rows, written = [], []
        for sample in chosen:
            for extra in self.children(data, key):
                values = {**dict(zip(names, sample, strict=True)), **extra}
                provenance = expected[sample]
                own = {f: f"u{data.draw(small)}" for f in provenance} if versions else provenance
                rows.append({**values, c.COL_DATA_VERSION_BY_FIELD: own})
                written.append(Row(values, provenance, own, version, given=True))
        empty, found = self.draw_empty(data, held, pending - set(chosen))
        mode = data.draw(st.sampled_from(["upsert"] * 4 + ["replace"]))
        options = {"delete_orphaned": orphans, "empty": empty, "mode": mode}
        if rows:
            taken.write(pa.Table.from_pylist(rows), **options)
            self.oracle.upsert(key, written)
        elif orphans or empty is not None or mode == "replace":
            taken.write(pa.table({"whatever": pa.array([], pa.int64())}), **options)
        if mode == "replace":
            own = self.graph.plan(FeatureKey(key)).spec.id_columns
            kept = {tuple(row.values[n] for n in own) for row in written}
            self.oracle.delete(key, [ids for ids in self.oracle.stored(key) if ids not in kept])
        elif orphans:
            kept = {tuple(row.values[n] for n in names) for row in written}
            doomed = [
                ids
                for ids, row in self.oracle.stored(key).items()
                if (sample := tuple(row.values[n] for n in names)) in gone and sample not in kept
            ]
            self.oracle.delete(key, doomed)
        self.oracle.mark(key, {sample: expected[sample] for sample in found})

    def draw_empty(self, data: st.DataObject, held: Held, left: set[Any]) -> tuple[Any, set[Any]]:
        """What is said of empty samples, and which of those without rows are meant."""
        said = data.draw(st.sampled_from([None, None, "some", c.EMPTY_REST]))
        if said == c.EMPTY_REST:
            return said, left - self.oracle.changed_since(held.key, held.then)
        if said is None:
            return None, set()
        found = {sample for sample in sorted(left, key=repr) if data.draw(st.booleans())}
        return [dict(zip(held.taken.names, sample, strict=True)) for sample in found], found

    @rule()
    def begin_session(self) -> None:
        """A session that reads sees one state, whatever others write meanwhile."""
        self.end_session()
        self.keep_since()
        reader = DuckDBMetadataStore(self.path, graph=self.graph)
        reader.__enter__()
        self.session = (reader, copy.deepcopy(self.oracle.rows))

    def end_session(self) -> None:
        if self.session is not None:
            self.session[0].__exit__()
            self.session = None

    @invariant()
    def session_sees_its_state(self) -> None:
        if self.session is None:
            return
        reader, state = self.session
        keys = (*ROOTS, *self.derived)
        # What was written last, and another one.
        for key in {*self.written_last, keys[self.steps % len(keys)]}:
            assert seen(self.read(key, reader)) == seen(state.get(key, {})), key
            assert reader.count(key) == len(state.get(key, {}))

    @rule(data=st.data(), who=writer)
    def keep_frame(self, data: st.DataObject, who: int) -> None:
        self.keep_since()
        key = data.draw(st.sampled_from([*ROOTS, *self.derived]))
        frame = self.writers[who].read(key)
        self.frames.append((key, frame, dict(self.oracle.stored(key))))

    @precondition(lambda self: self.frames)
    @rule()
    def collect_late(self) -> None:
        for key, frame, state in self.frames:
            assert seen(self.rows_of(key, frame)) == seen(state), key
        self.frames.clear()

    def complete(self, key: str) -> None:
        """Compute all that is pending."""
        taken, expected = self.take(key), self.oracle.expected(key)
        rows = []
        for sample in self.oracle.resolve(key):
            if sample not in expected:
                continue
            provenance = expected[sample]
            values = dict(zip(taken.names, sample, strict=True))
            values |= {"k": 0, "value": 1} if key == "child" else {"value": 1}
            rows.append(Row(values, provenance, provenance, self.graph.feature_version(key)))
        if rows:
            frame = pa.Table.from_pylist([row.values for row in rows])
            taken.write(frame)
            self.oracle.upsert(key, rows)

    def children(self, data: st.DataObject, key: str) -> list[dict[str, Any]]:
        if key != "child":
            return [{"value": data.draw(small)}]
        return [{"k": k, "value": 1} for k in range(data.draw(st.integers(1, 3)))]

    @rule(data=st.data(), who=writer, soft=st.booleans())
    def delete(self, data: st.DataObject, who: int, soft: bool) -> None:
        self.store = self.writers[who]
        key = data.draw(st.sampled_from([*ROOTS, *self.derived]))
        ids = self.graph[FeatureKey(key)].id_columns
        column, limit = data.draw(st.sampled_from(ids)), data.draw(small)
        if column == "g":
            return
        self.touched.add(key)
        doomed = [i for i, r in self.oracle.stored(key).items() if r.values[column] > limit]
        result = self.do("delete", key, filters=f"{column} > {limit}", soft=soft)
        assert result.deleted == len(doomed)
        if not soft and doomed:
            # What is erased is gone from older states, too.
            self.frames.clear()
            self.end_session()
        self.oracle.delete(key, doomed)
        names = self.oracle.sample_columns(key) if key in self.derived else []
        ended = set()
        if column in names:
            ended = {s for s in self.oracle.empty(key) if s[names.index(column)] > limit}
        for sample in ended:
            del self.oracle.empty(key)[sample]
        if not soft:
            for held in self.held:
                held.statuses = None

    def keep_since(self) -> None:
        if not (self.held or self.frames or self.session):
            self.since = None
        if self.since is None:
            newest = self.store.compact(older_than=dt.timedelta(), dry_run=True)
            self.since = newest.horizon

    @rule(who=writer, kept=st.booleans(), rewrite=st.booleans())
    def compact(self, who: int, kept: bool, rewrite: bool) -> None:
        """No answer changes by it, also to what was asked before as far as that is kept."""
        self.store = self.writers[who]
        if not kept:
            for held in self.held:
                held.taken.asked()
            self.frames.clear()
            self.end_session()
            self.since = None
        options = {"before": self.since, "rewrite": rewrite}
        self.do("compact", older_than=dt.timedelta(), **options)
        for key, frame, state in self.frames:
            assert seen(self.rows_of(key, frame)) == seen(state), key

    @rule(data=st.data())
    def change_code(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([*ROOTS, *self.derived]))
        name = data.draw(st.sampled_from([str(f.key) for f in self.graph[FeatureKey(key)].fields]))
        slot = f"{key}:{name}"
        self.versions[slot] = 1 + (self.versions.get(slot, 1) % 3)
        self.build()

    def read(self, key: str, store: DuckDBMetadataStore | None = None) -> dict[Any, Row]:
        return self.rows_of(key, (store or self.store).read(key))

    def rows_of(self, key: str, lazy: nw.LazyFrame[Any]) -> dict[Any, Row]:
        frame = lazy.collect().to_native()
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
        # Looked at by one who may have written nothing of late.
        self.store = self.writers[self.steps % WRITERS]
        with self.store.connected():
            for key in self.derived:
                self.agrees(key, self.store.resolve_update(key))
            counted = self.derived[self.steps % len(self.derived)]
            self.counts_agree(counted)
            self.unchanged_agree(counted)
            for key in self.touched:
                self.reads_agree(key)
            full = self.full.resolve_update(counted).delta
            narrow = self.store.resolve_update(counted)
            names = narrow.sample_columns
            assert sorted_rows(full, names) == sorted_rows(narrow.delta, names)
            if counted not in ("joined", "coarse"):  # whose upstreams share column names
                self.frames_agree(counted)
        self.steps += 1
        self.written_last = set(self.touched)
        self.touched.clear()

    def agrees(self, key: str, increment: Increment) -> None:
        names = increment.sample_columns
        expected = self.oracle.expected(key)
        found = {}
        for row in increment.delta.to_pylist():
            sample = tuple(row[n] for n in names)
            found[sample] = STATUSES[row[c.COL_STATUS]]
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

    def unchanged_agree(self, key: str) -> None:
        delta = self.store.resolve_update(key, keep_unchanged=True).delta
        names = self.oracle.sample_columns(key)
        found = [
            tuple(r[n] for n in names) for r in delta.to_pylist() if r[c.COL_STATUS] > ORPHANED
        ]
        assert (set(found), len(found)) == (self.oracle.unchanged(key), len(set(found)))

    def reads_agree(self, key: str) -> None:
        wanted = self.oracle.stored(key)
        assert seen(self.read(key)) == seen(wanted)
        assert self.store.count(key) == len(wanted)
        # What writes kept up to date, beside all rows hashed anew.
        every = f"{self.graph[FeatureKey(key)].id_columns[0]} IS NOT NULL"
        assert self.store.data_version(key) == self.store.data_version(key, filters=every)


def sorted_rows(delta: pa.Table, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return sorted(delta.to_pylist(), key=lambda row: repr([row[name] for name in names]))


def seen(rows: dict[Any, Row]) -> dict[Any, tuple[Any, ...]]:
    return {i: (r.provenance, r.data_version, r.feature_version) for i, r in rows.items()}


class ProcessMachine(Machine):
    """Every other writer is another process; it also keeps what it resolved until it writes."""

    process: ClassVar[ProcessPoolExecutor]

    def take(self, key: str) -> Taken | TakenElsewhere:
        if self.is_here:
            return super().take(key)
        return TakenElsewhere(self.process, self.store, key)

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        if self.is_here:
            return super().do(name, *args, **options)
        return self.process.submit(call, self.store, name, args, options).result()

    @property
    def is_here(self) -> bool:
        return self.store is self.writers[0]


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestOracle = Machine.TestCase
TestOracle.settings = SETTINGS


@pytest.fixture(scope="module")
def process() -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        ProcessMachine.process = executor
        yield


@pytest.mark.usefixtures("process")
class TestOracleWithProcesses(ProcessMachine.TestCase):
    settings = settings(SETTINGS, max_examples=max(2, EXAMPLES // 4))
