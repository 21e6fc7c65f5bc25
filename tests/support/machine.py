"""The state machine: a store and the oracle side by side, through random histories.

Several writers act in turn on one file: store objects of one process with sessions of their own,
some still with an older graph, and (in a machine of its own) another process. What one of them
resolved is written when others wrote in between: see :mod:`meanwhile`.
"""

from __future__ import annotations

import contextlib
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import narwhals as nw
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from random_graphs import (
    DERIVED,
    ROOTS,
    WHEN,
    Shape,
    derived_table,
    first_rows,
    first_when,
    make_graph,
    root_rows,
    shapes,
    small,
    table,
)
from workers import answer_taken, asked_by, call, take

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from metaxy_dagster.stores.counts import QUARANTINED, UNCHANGED
from oracle import EVERYTHING, Chosen, Oracle, Row

WRITERS = 3
STATUSES = ("new", "stale", "orphaned")
MAX_ATTEMPTS = 2
writer = st.integers(0, WRITERS - 1)


class Taken:
    """An increment on the way to its answer: which samples it asks for, as its writer sees it."""

    def __init__(self, store: DuckDBMetadataStore, increment: Increment) -> None:
        self.store, self.increment = store, increment
        # What nobody looked at yet lacks what is erased before somebody does.
        self.looked = False

    @property
    def names(self) -> tuple[str, ...]:
        return self.increment.sample_columns

    def asked(self) -> tuple[set[Any], list[Any]]:
        """The pending samples and the orphaned ones."""
        found = asked_by(self.increment)
        self.looked = True
        return found

    def write(self, frame: pa.Table, **options: Any) -> None:
        self.store.write(self.increment.feature, frame, increment=self.increment, **options)


class TakenElsewhere:
    """As :class:`Taken`, by another process, which keeps the increment."""

    def __init__(self, process: ProcessPoolExecutor, store: DuckDBMetadataStore, key: str) -> None:
        self.process, self.store, self.key = process, store, key
        self.number, self.names, *found = process.submit(take, store, key).result()
        self._asked = found
        self.looked = True

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
    # The history that it belongs to.
    moment: tuple[int, object]
    # What it is asked of, without what was erased since.
    past: Oracle
    failed: set[Any] = field(default_factory=set)
    chosen: Chosen = EVERYTHING

    def see(self) -> None:
        """Say what its past says, unless somebody looked before that changed."""
        if not self.taken.looked:
            self.expected = self.past.expected(self.key, self.chosen)


class Machine(RuleBasedStateMachine):
    """Drives a store and the oracle side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "m.duckdb"
        self.versions: dict[str, int] = {}
        self.held: list[Held] = []
        # What sessions and lazy frames of earlier steps must still show.
        self.session: tuple[DuckDBMetadataStore, Oracle, tuple[int, object]] | None = None
        self.frames: list[tuple[str, nw.LazyFrame[Any], dict[Any, Row], tuple[int, object]]] = []
        # The commit as of which the oldest of them was made.
        self.since: int | None = None
        # One object a commit: a file that is put back goes on with others.
        self.history: list[object] = []
        self.touched: set[str] = set()
        self.written_last: set[str] = set()
        self.steps = 0

    def teardown(self) -> None:
        self.end_session()
        self.folder.cleanup()

    # What other kinds of writers do in their own way.

    def take(self, key: str) -> Taken | TakenElsewhere:
        return Taken(self.store, self.store.resolve_update(key))

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a writer."""
        return getattr(self.store, name)(*args, **options)

    @initialize(
        shape=shapes(),
        first=st.sampled_from([(), ("joined", "coarse"), ("joined", "group", "by_g", "coarse")]),
    )
    def declare(self, shape: Shape, first: tuple[str, ...]) -> None:
        self.shape = shape
        self.build()
        self.oracle = Oracle(self.graph)
        for root, ids in ROOTS.items():
            self.store.write(root, table(first_rows(root), ids))
            self.oracle.rows[root] = self.read(root)
        for key in first:
            self.complete(key)
            self.touched.add(key)
        self.begin()

    def begin(self) -> None:
        """What is done once, when there is something to work on."""
        self.begin_session()

    def build(self) -> None:
        self.derived = list(DERIVED)
        self.graph = make_graph(self.shape, self.versions)
        options: dict[str, Any] = {"graph": self.graph, "max_attempts": MAX_ATTEMPTS}
        # The incremental path always, and the full one always, on the same file.
        self.writers = [
            DuckDBMetadataStore(self.path, max_incremental_share=1e9, **options)
            for _ in range(WRITERS)
        ]
        self.store = self.writers[0]
        self.full = DuckDBMetadataStore(self.path, max_incremental_share=0, **options)
        if hasattr(self, "oracle"):
            self.oracle.graph = self.graph

    # Histories

    @property
    def newest(self) -> int:
        """The newest commit."""
        with self.full:
            return self.full._engine.sessions.snapshot or 0  # quicker than any other way

    @property
    def moment(self) -> tuple[int, object]:
        """The newest commit, and what tells it from others of that number."""
        newest = self.newest
        self.history += [object() for _ in range(len(self.history), newest)]
        return newest, self.history[newest - 1] if newest else None

    def is_lost(self, moment: tuple[int, object]) -> bool:
        """Whether a moment is of another history than the file has now."""
        number, one = moment
        if not number:
            return False
        return len(self.history) < number or self.history[number - 1] is not one

    # Writes and answers

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
        self.answer(data, self.hold_one(key), versions=versions, orphans=orphans)

    @rule(number=st.integers(0, len(DERIVED) - 1), who=writer)
    def compute_all(self, number: int, who: int) -> None:
        self.store = self.writers[who]
        self.complete(self.derived[number])
        self.touched.add(self.derived[number])

    def hold_one(self, key: str, chosen: Chosen = EVERYTHING, filters: Any = None) -> Held:
        """What one of the writers is asked for now."""
        version, statuses = self.graph.feature_version(key), self.oracle.resolve(key, chosen)
        expected, moment = self.oracle.expected(key, chosen), self.moment
        taken = self.take(key) if filters is None else self.take_chosen(key, filters)
        then, past = self.oracle.now, self.oracle.copy()
        return Held(key, taken, expected, version, then, statuses, moment, past, chosen=chosen)

    def take_chosen(self, key: str, filters: Any) -> Taken:
        return Taken(self.store, self.store.resolve_update(key, filters=filters))

    def answer(
        self, data: st.DataObject, held: Held, *, versions: bool = False, orphans: bool = False
    ) -> None:
        key, taken, expected, version = held.key, held.taken, held.expected, held.version
        names = list(taken.names)
        lost = self.is_lost(held.moment)
        try:
            pending, gone = taken.asked()
        except StoreError:
            # Nobody looked at it before the history that it belongs to was gone.
            assert lost
            return
        self.says(held, pending, gone)
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
        nothing = pa.table({"whatever": pa.array([], pa.int64())})
        if lost:
            with contextlib.suppress(StoreError):
                taken.write(derived_table(rows) if rows else nothing, **options)
                raise AssertionError("an answer to a question of another history was taken")
            return
        if rows:
            taken.write(derived_table(rows), **options)
            self.oracle.upsert(key, written)
        elif orphans or empty is not None or mode == "replace":
            taken.write(nothing, **options)
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

    def says(self, held: Held, pending: set[Any], gone: list[Any]) -> None:
        """An increment asks for what there was to do, but for what failed too often."""
        if held.statuses is None:
            return
        wanted = {s for s, status in held.statuses.items() if status != "orphaned"}
        assert pending <= wanted
        assert set(gone) == held.statuses.keys() - wanted
        assert wanted - pending <= self.quarantined(held)

    def quarantined(self, held: Held) -> set[Any]:
        """Samples that the increment lists as having failed too often."""
        if isinstance(held.taken, TakenElsewhere):
            # That process was not asked for them.
            return set(held.statuses or ())
        rows = held.taken.increment.delta.to_pylist()
        names = held.taken.names
        return {tuple(r[n] for n in names) for r in rows if r[c.COL_STATUS] == QUARANTINED}

    def draw_empty(self, data: st.DataObject, held: Held, left: set[Any]) -> tuple[Any, set[Any]]:
        """What is said of empty samples, and which of those without rows are meant."""
        said = data.draw(st.sampled_from([None, None, "some", c.EMPTY_REST]))
        if said == c.EMPTY_REST:
            return said, left - self.oracle.changed_since(held.key, held.then) - held.failed
        if said is None:
            return None, set()
        found = {sample for sample in sorted(left, key=repr) if data.draw(st.booleans())}
        return [dict(zip(held.taken.names, sample, strict=True)) for sample in found], found

    def children(self, data: st.DataObject, key: str) -> list[dict[str, Any]]:
        when = {name: data.draw(one) for name, one in WHEN.items()}
        if key != "child":
            return [{"value": data.draw(small), **when}]
        return [{"k": k, "value": 1, **when} for k in range(data.draw(st.integers(1, 3)))]

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
            values |= first_when(len(rows))
            rows.append(Row(values, provenance, provenance, self.graph.feature_version(key)))
        if rows:
            frame = derived_table([row.values for row in rows])
            taken.write(frame)
            self.oracle.upsert(key, rows)

    # Sessions

    @rule()
    def begin_session(self) -> None:
        """A session that reads sees one state, whatever others write meanwhile."""
        self.end_session()
        self.keep_since()
        reader = DuckDBMetadataStore(self.path, graph=self.graph)
        reader.__enter__()
        self.session = (reader, self.oracle.copy(), self.moment)

    def end_session(self) -> None:
        if self.session is not None:
            self.session[0].__exit__()
            self.session = None

    @property
    def is_past_needed(self) -> bool:
        """Whether something of an earlier step is still to be looked at."""
        return bool(self.held or self.frames or self.session)

    def keep_since(self) -> None:
        if not self.is_past_needed:
            self.since = None
        if self.since is None:
            self.since = self.newest

    @invariant()
    def session_sees_its_state(self) -> None:
        if self.session is None:
            return
        reader, state, _ = self.session
        keys = (*ROOTS, *self.derived)
        # What was written last, and another one.
        for key in {*self.written_last, keys[self.steps % len(keys)]}:
            assert seen(self.read(key, reader)) == seen(state.stored(key)), key
            assert reader.count(key) == len(state.stored(key))

    # What must hold after each step

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
            self.frames_agree(counted)
        self.steps += 1
        self.written_last = set(self.touched)
        self.touched.clear()

    def agrees(
        self,
        key: str,
        increment: Increment,
        chosen: Chosen = EVERYTHING,
        oracle: Oracle | None = None,
    ) -> None:
        names, oracle = increment.sample_columns, oracle or self.oracle
        expected, wanted = oracle.expected(key, chosen), oracle.resolve(key, chosen)
        found = {}
        for row in increment.delta.to_pylist():
            sample, status = tuple(row[n] for n in names), row[c.COL_STATUS]
            # What failed too often is pending in the oracle's eyes.
            held = wanted.get(sample) if status == QUARANTINED else STATUSES[status]
            found[sample] = held
            assert status != QUARANTINED or held in ("new", "stale")
            if sample in expected:
                assert row[c.COL_PROVENANCE_BY_FIELD] == expected[sample]
        assert found == wanted, (key, chosen)

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
        new, stale, orphaned = map(wanted.count, STATUSES)
        assert counts.orphaned == orphaned
        assert counts.pending + counts.quarantined == new + stale
        assert (counts.new <= new, counts.stale <= stale) == (True, True)

    def unchanged_agree(self, key: str) -> None:
        delta = self.store.resolve_update(key, keep_unchanged=True).delta
        names = self.oracle.sample_columns(key)
        found = [
            tuple(r[n] for n in names) for r in delta.to_pylist() if r[c.COL_STATUS] == UNCHANGED
        ]
        assert (set(found), len(found)) == (self.oracle.unchanged(key), len(set(found)))

    def reads_agree(self, key: str) -> None:
        wanted = self.oracle.stored(key)
        assert seen(self.read(key)) == seen(wanted)
        assert self.store.count(key) == len(wanted)
        if not wanted and key not in map(str, self.store.features()):
            return
        # What writes kept up to date, beside all rows hashed anew.
        every = f"{self.graph[FeatureKey(key)].id_columns[0]} IS NOT NULL"
        assert self.store.data_version(key) == self.store.data_version(key, filters=every)


def sorted_rows(delta: pa.Table, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return sorted(delta.to_pylist(), key=lambda row: repr([row[name] for name in names]))


def seen(rows: dict[Any, Row]) -> dict[Any, tuple[Any, ...]]:
    """What is compared of rows; a field that a row was written without says nothing."""

    def known(by_field: dict[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in by_field.items() if one is not None}

    return {
        i: (known(r.provenance), known(r.data_version), r.feature_version) for i, r in rows.items()
    }


class Elsewhere:
    """Every other writer is another process; it also keeps what it resolved until it writes."""

    process: ClassVar[ProcessPoolExecutor]
    store: DuckDBMetadataStore
    writers: list[DuckDBMetadataStore]

    def take(self, key: str) -> Taken | TakenElsewhere:
        if self.is_here:
            return Taken(self.store, self.store.resolve_update(key))
        return TakenElsewhere(self.process, self.store, key)

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        if self.is_here:
            return getattr(self.store, name)(*args, **options)
        return self.process.submit(call, self.store, name, args, options).result()

    @property
    def is_here(self) -> bool:
        return self.store is self.writers[0]
