"""Definitions change between any two steps: ids, fields, code. What is stored must still be true.

A root ``r``, ``d`` derived from it on the same ids, and ``g`` that gathers it by its first id.
What is written answers increments of this definition or of an earlier one, in the ways in which
people write frames. Whatever is stored was computed from what its provenance says.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metaxy_dagster import constants as c
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldSpec,
    LineageRelationship,
)
from metaxy_dagster.stores import DuckDBMetadataStore, Increment
from oracle import Oracle, Row

EXAMPLES = int(os.environ.get("METAXY_ORACLE_EXAMPLES", "10"))
STATUSES = ("new", "stale", "orphaned")
IDS = (("a", "b"), ("b", "a"), ("a",))
FIELDS = (("x", "y"), ("y", "x"), ("x",), ("y",))
# How a frame is made that answers an increment.
WAYS = ("its frame", "ids", "the upstream's rows", "other spelling", "rows read before", "batches")
small = st.integers(0, 2)


@dataclass(frozen=True)
class Definition:
    """What the features are."""

    ids: tuple[str, ...] = ("a", "b")
    root: tuple[str, ...] = ("x", "y")
    derived: tuple[str, ...] = ("x", "y")
    code: int = 1

    def graph(self) -> FeatureGraph:
        graph = FeatureGraph()
        columns = [FieldSpec(name, columns=[name]) for name in self.root]
        own = [FieldSpec(name, code_version=str(self.code)) for name in self.derived]
        gathered = FeatureDep("r", lineage=LineageRelationship.aggregation(on=["a"]))
        graph.add(FeatureSpec("r", id_columns=self.ids, fields=columns))
        graph.add(FeatureSpec("d", id_columns=self.ids, fields=own, deps=["r"]))
        graph.add(FeatureSpec("g", id_columns=["a"], fields=own, deps=[gathered]))
        return graph

    def ids_of(self, key: str) -> tuple[str, ...]:
        return ("a",) if key == "g" else self.ids

    def shape(self, key: str) -> tuple[object, ...]:
        """What an increment of a feature depends on, beside its code."""
        upstream = set(self.root)
        parents = [(f, frozenset({f} & upstream or upstream)) for f in sorted(self.derived)]
        return frozenset(self.ids), *parents, key


@dataclass
class Held:
    """An increment on its way, and what was expected when it was resolved."""

    key: str
    increment: Increment
    definition: Definition
    version: str
    expected: Mapping[Any, dict[str, str]]
    gone: set[Any]


class Machine(RuleBasedStateMachine):
    """Drives a store and the oracle side by side."""

    @initialize(first=st.sampled_from(["nothing", "rows", "computed"]))
    def begin(self, first: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "m.duckdb"
        self.oracle = Oracle(FeatureGraph())
        self.held: list[Held] = []
        # The ids under which each feature is stored.
        self.stored_ids: dict[str, tuple[str, ...]] = {}
        self.define(Definition())
        if first == "nothing":
            return
        rows = [{"a": n % 2, "b": n, "x": n, "y": -n} for n in range(3)]
        self.write_root(rows=rows, mode="upsert", versions=False)
        for key in ("d", "g") if first == "computed" else ():
            self.resolve(key=key)
            self.answer(number=0, way="ids", share=2, orphans=False)

    def teardown(self) -> None:
        self.folder.cleanup()

    def define(self, definition: Definition) -> None:
        self.now, self.graph = definition, definition.graph()
        self.store = DuckDBMetadataStore(self.path, graph=self.graph, max_incremental_share=1e9)
        self.full = DuckDBMetadataStore(self.path, graph=self.graph, max_incremental_share=0)
        self.oracle.graph = self.graph

    @rule(
        ids=st.sampled_from(IDS),
        root=st.sampled_from(FIELDS),
        derived=st.sampled_from(FIELDS),
        code=st.integers(1, 2),
        what=st.sampled_from(["ids", "fields", "code"]),
    )
    def redefine(
        self,
        ids: tuple[str, ...],
        root: tuple[str, ...],
        derived: tuple[str, ...],
        code: int,
        what: str,
    ) -> None:
        now = self.now
        if what == "ids":
            self.define(Definition(ids, now.root, now.derived, now.code))
        elif what == "fields":
            self.define(Definition(now.ids, root, derived, now.code))
        else:
            self.define(Definition(now.ids, now.root, now.derived, code))

    def moved(self, *keys: str) -> bool:
        """Whether any of these is stored under other ids than are declared now."""
        known = {key: self.stored_ids.get(key) for key in keys}
        return any(ids and set(ids) != set(self.now.ids_of(key)) for key, ids in known.items())

    def refused(self, name: str, *args: Any, **options: Any) -> None:
        """What meets other ids than are stored says so, and what can be done."""
        with pytest.raises(MetaxyError, match="id_columns") as refusal:
            getattr(self.store, name)(*args, **options)
        assert "migrate_ids" in str(refusal.value)

    @rule(
        rows=st.lists(st.fixed_dictionaries(dict.fromkeys("abxy", small)), min_size=1, max_size=4),
        mode=st.sampled_from(["upsert", "replace"]),
        versions=st.booleans(),
    )
    def write_root(self, rows: list[dict[str, Any]], mode: str, versions: bool) -> None:
        rows = list({tuple(row[name] for name in self.now.ids): row for row in rows}.values())
        table = pa.Table.from_pylist(rows)
        given = [dict.fromkeys(self.now.root, f"u{row['x']}") for row in rows]
        if versions:
            table = table.append_column(c.COL_DATA_VERSION_BY_FIELD, pa.array(given))
        if self.moved("r"):
            return self.refused("write", "r", table, mode=mode)
        if versions:
            # By way of what it should hold, as an asset does that looks what has changed.
            increment = self.store.resolve_update("r", samples=table, keep_unchanged=True)
            pending = increment.pending.collect().to_native()
            result = self.store.write("r", pending)
            if mode == "replace":
                self.store.write("r", pending, increment=increment, delete_orphaned=True)
            changed = {tuple(row[n] for n in self.now.ids) for row in pending.to_pylist()}
        else:
            result = self.store.write("r", table, mode=mode)
            assert result.unchanged >= 0
            changed = {tuple(row[n] for n in self.now.ids) for row in rows}
        self.adopt(rows, given if versions else None, changed, replace=mode == "replace")
        return None

    def adopt(
        self,
        rows: list[dict[str, Any]],
        given: list[dict[str, str]] | None,
        changed: set[Any],
        *,
        replace: bool,
    ) -> None:
        """Content versions are taken over from the store; test_content holds them."""
        self.stored_ids["r"] = self.now.ids
        before, written = self.rekeyed("r"), self.read("r")
        after = {} if replace else before
        for number, row in enumerate(rows):
            ids = tuple(row[name] for name in self.now.ids)
            found = written[ids]
            if ids in changed:
                assert found.values == row
                wanted = found.provenance if given is None else given[number]
                told = {field: found.data_version[field] for field in self.now.root}
                wanted = {field: wanted[field] for field in self.now.root}
                assert told == wanted, "a user's data version is lost"
                after[ids] = found
            else:
                after[ids] = before[ids]
        self.oracle.rows["r"] = after

    def rekeyed(self, key: str) -> dict[Any, Row]:
        """What the oracle holds, by the ids of now, which may stand in another order."""
        names = self.now.ids_of(key)
        rows = self.oracle.stored(key).values()
        return {tuple(row.values[name] for name in names): row for row in rows}

    @rule(key=st.sampled_from(["d", "g"]))
    def resolve(self, key: str) -> None:
        if self.moved(key, "r"):
            return self.refused("resolve_update", key)
        increment, statuses = self.store.resolve_update(key), self.oracle.resolve(key)
        assert increment.delta.num_rows == len(statuses)
        gone = {sample for sample, status in statuses.items() if status == "orphaned"}
        version, expected = self.graph.feature_version(key), self.oracle.expected(key)
        self.held.append(Held(key, increment, self.now, version, expected, gone))
        return None

    @precondition(lambda self: self.moved("r", "d"))
    @rule(keep=st.sampled_from([None, "newest", "none"]), fill=st.booleans())
    def migrate(self, keep: Any, fill: bool) -> None:
        """Ids are migrated upstream first, or downstream first; the oracle keeps what is unique."""
        for key in ("r", "d"):
            if not self.moved(key):
                continue
            names, rows = self.now.ids_of(key), self.oracle.stored(key).values()
            more = {"b": 7} if fill else {}
            options = {"keep": keep, "fill": more if "b" in names else {}}
            known = [name for name in names if name not in options["fill"]]
            told = self.store.migrate_ids(key, **options, dry_run=True)
            groups: dict[Any, list[Row]] = {}
            for row in rows:
                if all(row.values.get(name) is not None for name in known):
                    values = {**options["fill"], **row.values}
                    row.values = values if all(name in values for name in names) else row.values
                    ids = tuple(row.values.get(name) for name in names)
                    groups.setdefault(ids, []).append(row)
            clean = sum(map(len, groups.values())) == len(rows) and None not in {
                one for ids in groups for one in ids
            }
            alike = sum(len(group) for group in groups.values() if len(group) > 1)
            assert told.rows == len(rows)
            if not clean or (alike and keep is None):
                with pytest.raises(MetaxyError, match="new ids"):
                    self.store.migrate_ids(key, **options)
                continue
            assert told.duplicates == alike
            done = self.store.migrate_ids(key, **options)
            assert done.kept == told.kept == len(self.read(key))
            kept = {
                ids: group[0]
                for ids, group in groups.items()
                if len(group) == 1 or keep == "newest"
            }
            found = self.read(key)
            assert found.keys() == kept.keys()
            # Which of those alike is newest is the store's to know.
            self.oracle.rows[key] = {
                ids: row
                if len(groups[ids]) == 1
                else next(one for one in groups[ids] if one.values["b"] == found[ids].values["b"])
                for ids, row in kept.items()
            }
            self.stored_ids[key] = names
            assert self.store.migrate_ids(key).commit == 0

    @precondition(lambda self: self.held)
    @rule(
        number=st.integers(0, 9),
        way=st.sampled_from(WAYS),
        share=st.integers(1, 2),
        orphans=st.booleans(),
    )
    def answer(self, number: int, way: str, share: int, orphans: bool) -> None:
        held = self.held.pop(number % len(self.held))
        key, asked = held.key, held.increment
        parts = [asked]
        if way == "batches":
            parts = list(asked.batches(1))[:share]
        for part in parts:
            frame = self.frame_for(part, held, way, share)
            if frame is None or not frame.num_rows:
                continue
            for name in self.store.schema(key).keys() - set(frame.column_names):
                frame = frame.append_column(name, pa.nulls(frame.num_rows, pa.int64()))
            passed = None if way == "its frame" else part
            options = {"increment": passed, "delete_orphaned": orphans and passed is not None}
            if self.moved(key):
                with pytest.raises(MetaxyError, match="id_columns"):
                    self.store.write(key, frame, **options)
                return
            before = self.state(key)
            # Data versions that the upstream's user gave it are no others' to take.
            theirs = way == "the upstream's rows" and (
                frame.column("metaxy_data_version_by_field").to_pylist()
                != frame.column("metaxy_provenance_by_field").to_pylist()
            )
            try:
                self.store.write(key, frame, **options)
                assert not theirs, "took what is another feature's"
            except MetaxyError:
                changed = held.definition.shape(key) != self.now.shape(key)
                code = way == "its frame" and held.version != self.graph.feature_version(key)
                spelt = way in ("other spelling", "rows read before")
                assert changed or code or spelt or theirs, "refused what is right"
                assert self.state(key) == before
                return
            assert held.definition.shape(key) == self.now.shape(key), "of another definition"
            self.note(held, frame, gone=held.gone if options["delete_orphaned"] else set())

    def frame_for(self, part: Increment, held: Held, way: str, share: int) -> pa.Table | None:
        """Rows for the first samples that are asked for, as people make them."""
        names = list(part.sample_columns)
        pending = part.pending.collect().to_native()
        frame = pending.slice(0, -(-pending.num_rows // (3 - share)))
        if way in ("its frame", "batches"):
            return frame.append_column("value", pa.array([1] * frame.num_rows, pa.int64()))
        ids = frame.select(names)
        if way == "ids":
            return ids.append_column("value", pa.array([2] * ids.num_rows, pa.int64()))
        if way == "other spelling":
            spelt = [pa.array([f"0{one}" for one in ids[name].to_pylist()]) for name in names]
            table = pa.table(spelt, names=names)
            return table.append_column("value", pa.array([3] * ids.num_rows, pa.int64()))
        key = "r" if way == "the upstream's rows" else held.key
        stored = self.store.read(key).collect().to_native()
        if not set(names) <= set(stored.column_names):
            return None
        wanted, chosen = {tuple(row.values()) for row in ids.to_pylist()}, []
        for number, row in enumerate(stored.select(names).to_pylist()):
            if tuple(row.values()) in wanted:
                wanted.discard(tuple(row.values()))
                chosen.append(number)
        return stored.take(pa.array(chosen, pa.int64()))

    def note(self, held: Held, frame: pa.Table, *, gone: set[Any]) -> None:
        key, names = held.key, self.now.ids_of(held.key)
        self.oracle.rows[key] = self.rekeyed(key)
        self.stored_ids[key] = names
        rows = []
        for row in frame.to_pylist():
            ids = tuple(int(row[name]) for name in names)
            sample = tuple(int(row[name]) for name in held.increment.sample_columns)
            values = dict(zip(names, ids, strict=True))
            provenance = held.expected[sample]
            rows.append(Row(values, provenance, provenance, held.version))
        self.oracle.upsert(key, rows)
        kept = {tuple(row.values.values()) for row in rows}
        order = held.increment.sample_columns
        self.oracle.delete(
            key,
            [tuple(dict(zip(order, one, strict=True))[n] for n in names) for one in gone - kept],
        )

    def state(self, key: str) -> Any:
        return self.store.read(key, history=True).collect().to_native().to_pylist()

    def read(self, key: str) -> dict[Any, Row]:
        names, rows = self.now.ids_of(key), self.store.read(key).collect().to_native().to_pylist()
        found = {
            tuple(row[n] for n in names): Row(
                {n: v for n, v in row.items() if not n.startswith(c.PREFIX)},
                row[c.COL_PROVENANCE_BY_FIELD],
                row[c.COL_DATA_VERSION_BY_FIELD],
                row[c.COL_FEATURE_VERSION],
            )
            for row in rows
        }
        assert len(found) == len(rows), "an id is stored twice"
        return found

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "oracle"):
            return
        for key in ("r", "d", "g"):
            if self.moved(key):
                continue
            self.oracle.rows[key] = self.rekeyed(key)
        for key in ("d", "g"):
            if self.moved(key, "r"):
                self.refused("resolve_update", key)
                continue
            for store in (self.store, self.full):
                delta = store.resolve_update(key).delta
                names = store.resolve_update(key).sample_columns
                found = {
                    tuple(row[n] for n in names): STATUSES[row[c.COL_STATUS]]
                    for row in delta.to_pylist()
                }
                assert found == self.oracle.resolve(key), key
            if self.moved(key):
                continue
            fields = set(self.now.derived)
            for ids, row in self.read(key).items():
                wanted = self.oracle.stored(key)[ids]
                known = {f: v for f, v in wanted.provenance.items() if f in fields}
                assert {f: row.provenance[f] for f in known} == known
                assert {f: row.data_version[f] for f in known} == {
                    f: wanted.data_version[f] for f in known
                }


TestRedefinitions = Machine.TestCase
TestRedefinitions.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
