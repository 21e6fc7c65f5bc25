"""Parts of features, and earlier states of them, as rules of the state machine.

Parts are windows over text and over times, as partitions of Dagster are, of upstreams and of the
feature itself, or conditions on samples. What they hold is said twice: as the filter that the store
gets, and in plain Python.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import dagster as dg
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machine import writer
from meanwhile import Meanwhile

from metaxy_dagster.features import FeatureKey, Filter, Not
from metaxy_dagster.runtime.partitions.choice import Choice, TimeKeys
from oracle import EVERYTHING, Chosen, Condition, Oracle

DAYS = dg.DailyPartitionsDefinition("2024-01-31", end_date="2024-02-06")
KINDS = {"t": "VARCHAR", "at": "TIMESTAMP"}


@dataclass(frozen=True)
class Part:
    """Some rows: the columns that decide, the filter, and the same in plain Python."""

    columns: frozenset[str]
    filter: Any
    holds: Condition


def day_of(value: Any) -> dt.date | None:
    """The day of a moment, in UTC, however it is written; none if it says none."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if value is None or value.tzinfo is None:
        return value and value.date()
    return value.astimezone(dt.UTC).date()


def _within(column: str, days: frozenset[dt.date], values: Mapping[str, Any]) -> bool | None:
    day = day_of(values.get(column))
    return None if day is None else day in days


def _outside(column: str, days: frozenset[dt.date], values: Mapping[str, Any]) -> bool | None:
    found = _within(column, days, values)
    return None if found is None else not found


def _windows() -> dict[str, Part]:
    """Partitions of one day, of two that lie together or apart, and all that is outside."""
    found = {}
    for column, kind in KINDS.items():
        for numbers in ((1,), (2,), (3,), (1, 2), (1, 3)):
            days = frozenset(dt.date(2024, 2, number) for number in numbers)
            keys = tuple(sorted(map(str, days)))
            choice = Choice(column, keys, TimeKeys.of(keys, DAYS), is_partition=True)
            made: Filter = choice.filter(kind)
            name, columns = f"{column} in {numbers}", frozenset((column,))
            found[name] = Part(columns, made, partial(_within, column, days))
            found[f"not {name}"] = Part(columns, Not(made), partial(_outside, column, days))
    return found


def _after(values: Mapping[str, Any]) -> bool | None:
    return values["t"] is None or values["t"] >= "2024-02-02"


def _greater(values: Mapping[str, Any]) -> bool | None:
    return None if values.get("x") is None else values["x"] > 1


PARTS = _windows() | {
    "text": Part(frozenset("t"), "t >= '2024-02-02' OR t IS NULL", _after),
    # Derived features do not store it.
    "x": Part(frozenset("x"), "x > 1", _greater),
}


@dataclass(frozen=True)
class Remembered:
    """A commit, what tells it from others of that number, and what the store held then."""

    moment: tuple[int, object]
    state: Oracle


class WithParts(Meanwhile):
    """The machine that also looks at parts, answers for them, and looks back."""

    def __init__(self) -> None:
        super().__init__()
        self.remembered: list[Remembered] = []

    @property
    def is_past_needed(self) -> bool:
        return super().is_past_needed or bool(self.remembered)

    def let_go(self) -> None:
        super().let_go()
        self.remembered.clear()

    def put_back(self, data: st.DataObject, key: str) -> None:
        super().put_back(data, key)
        self.remembered = [one for one in self.remembered if not self.is_lost(one.moment)]

    # Parts

    def parts(self, key: str, pick: Random, state: Oracle) -> tuple[Chosen, Any]:
        """Some part of what a feature is computed from, and of what is stored of it."""
        deps = self.graph.plan(FeatureKey(key)).deps
        upstreams = [str(dep.upstream.key) for dep in deps]
        if pick.random() < 0.4:
            first = deps[0]
            known = set() if first.lineage_type == "aggregation" else state.columns(upstreams[0])
            offered = [part for part in PARTS.values() if part.columns <= known]
            if offered:
                part = pick.choice(offered)
                return Chosen(part.columns, part.holds), part.filter
        chosen = {}
        for one in [*upstreams, key]:
            # Those of an upstream and of the feature need not be the same: partitions are mapped.
            stored = state.columns(one)
            offered = [part for part in PARTS.values() if part.columns <= stored]
            if offered and pick.random() < 0.7:
                chosen[one] = pick.choice(offered)
        rows = {one: part.holds for one, part in chosen.items()}
        return Chosen(rows=rows), {one: part.filter for one, part in chosen.items()}

    @invariant()
    def parts_agree(self) -> None:
        """Each step: some part of one feature, by what is known already and by a full look."""
        if not hasattr(self, "oracle"):
            return
        pick = Random(self.steps)  # noqa: S311 - a seed that repeats
        key = self.derived[self.steps % len(self.derived)]
        with self.store.connected():
            for _ in range(2):
                chosen, filters = self.parts(key, pick, self.oracle)
                for store in (self.store, self.full):
                    self.agrees(key, store.resolve_update(key, filters=filters), chosen)

    @rule(data=st.data(), who=writer, seed=st.integers(0, 99), orphans=st.booleans())
    def compute_part(self, data: st.DataObject, who: int, seed: int, orphans: bool) -> None:
        self.answer(data, self.hold_part(data, who, seed), orphans=orphans)

    @rule(data=st.data(), who=writer, seed=st.integers(0, 99))
    def hold_for_later(self, data: st.DataObject, who: int, seed: int) -> None:
        self.keep_since()
        self.held.append(self.hold_part(data, who, seed))

    def hold_part(self, data: st.DataObject, who: int, seed: int) -> Any:
        self.store = self.writers[who]
        key = data.draw(st.sampled_from(self.derived))
        chosen, filters = self.parts(key, Random(seed), self.oracle)  # noqa: S311 - as above
        return self.hold_one(key, chosen, filters)

    # Earlier states

    @rule()
    def remember(self) -> None:
        self.keep_since()
        self.remembered.append(Remembered(self.moment, self.oracle.copy()))

    @precondition(lambda self: self.remembered)
    @rule(data=st.data(), who=writer, seed=st.integers(0, 99))
    def look_back(self, data: st.DataObject, who: int, seed: int) -> None:
        """What a feature waited for, and its upstreams, by the definitions of now."""
        then = data.draw(st.sampled_from(self.remembered))
        state, commit = then.state, then.moment[0]
        state.graph = self.graph
        key, pick = data.draw(st.sampled_from(self.derived)), Random(seed)  # noqa: S311 - as above
        for store in (self.writers[who], self.full):
            for chosen, filters in ((EVERYTHING, None), self.parts(key, pick, state)):
                found = store.resolve_update(key, filters=filters, as_of=commit)
                self.agrees(key, found, chosen, state)
            for dep in self.graph.plan(FeatureKey(key)).deps:
                found = store.resolve_update(key, as_of=commit)
                rows = found.upstream(dep.upstream.key, all_rows=True).collect().to_native()
                ids = dep.upstream.id_columns
                read = {tuple(row[name] for name in ids) for row in rows.to_pylist()}
                assert read <= state.stored(str(dep.upstream.key)).keys()
                if not dep.dep.filters:
                    assert read == state.stored(str(dep.upstream.key)).keys()
