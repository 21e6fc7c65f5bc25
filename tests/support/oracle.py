"""The semantics of increments in plain Python over dicts, written from the design, not from SQL.

Slow and simple on purpose: nested loops, no plans, no cleverness. The property tests hold the
real stores against it.
"""

from __future__ import annotations

import copy
import hashlib
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from metaxy_dagster.features import FeatureGraph, FeatureKey

Ids = tuple[Any, ...]
Condition = Callable[[Mapping[str, Any]], bool | None]
# Of an upstream's row or group: join values, data version by field, other columns.
Seen = tuple[dict[str, Any], dict[str, str | None], dict[str, Any]]
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def enc(part: str | None) -> str:
    return "-" if part is None else f"{len(part.encode())}:{part}"


@dataclass
class Row:
    """A stored sample."""

    values: dict[str, Any]
    provenance: dict[str, str]
    data_version: dict[str, str]
    feature_version: str
    # Whether its data versions are the user's own, and when it was written.
    given: bool = False
    at: int = 0


@dataclass
class Mark:
    """A sample that was computed and yielded nothing."""

    provenance: dict[str, str]
    at: int


@dataclass
class Expected:
    """A sample that the upstreams call for."""

    provenance: dict[str, str]
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """What a resolve looks at.

    Attributes:
        columns: those that ``sample`` asks for.
        sample: a condition on samples, by their ids and what upstreams bring.
        rows: conditions on the rows of single features, the feature itself among them.
    """

    columns: frozenset[str] = frozenset()
    sample: Condition | None = None
    rows: Mapping[str, Condition] = field(default_factory=dict)


EVERYTHING = Chosen()


class Oracle:
    """All features' samples, by key and ids."""

    def __init__(self, graph: FeatureGraph) -> None:
        self.graph = graph
        self.rows: dict[str, dict[Ids, Row]] = {}
        self.marks: dict[str, dict[Ids, Mark]] = {}
        # Counts what was done.
        self.now = 0

    def stored(self, key: str) -> dict[Ids, Row]:
        return self.rows.setdefault(key, {})

    def empty(self, key: str) -> dict[Ids, Mark]:
        return self.marks.setdefault(key, {})

    # What is expected

    def views(self, key: str, rows: Mapping[str, Condition]) -> list[tuple[bool, str, list[Seen]]]:
        """Per dependency: optional?, upstream, what is seen of those rows of it that are chosen."""
        found = []
        for plan in self.graph.plan(FeatureKey(key)).deps:
            upstream = str(plan.upstream.key)
            source = dict(plan.source_columns)
            wanted = [str(f) for f in plan.used_fields]
            chosen = rows.get(upstream)
            views: list[Seen] = []
            groups: dict[Ids, list[tuple[str, Row]]] = {}
            for row in self.stored(upstream).values():
                seen = {plan.dep.rename.get(n, n): v for n, v in row.values.items()}
                if not all(_holds(one, seen) is True for one in plan.dep.filters):
                    continue
                if chosen is not None and chosen(row.values) is not True:
                    continue
                join = {here: row.values.get(there) for here, there in source.items()}
                if plan.lineage_type == "aggregation":
                    member = "".join(
                        enc(str(row.values[c])) for c in sorted(plan.upstream.id_columns)
                    )
                    groups.setdefault(tuple(join.values()), []).append((member, row))
                else:
                    # Those of the first dependency alone; see ``random_graphs``.
                    columns = seen if plan.dep.select is None else {}
                    views.append((join, {f: row.data_version.get(f) for f in wanted}, columns))
            for values, members in groups.items():
                members.sort(key=lambda pair: pair[0].encode())
                versions: dict[str, str | None] = {
                    f: md5("".join(m + enc(r.data_version.get(f)) for m, r in members))
                    for f in wanted
                }
                views.append((dict(zip(source, values, strict=True)), versions, {}))
            found.append((plan.dep.optional, upstream, views))
        return found

    def expected(self, key: str, chosen: Chosen = EVERYTHING) -> dict[Ids, dict[str, str]]:
        """Sample -> provenance by field, from what the upstreams hold now."""
        return {sample: one.provenance for sample, one in self.called_for(key, chosen).items()}

    def called_for(self, key: str, chosen: Chosen = EVERYTHING) -> dict[Ids, Expected]:
        """Sample -> what the upstreams call for, from those of their rows that are chosen."""
        plan = self.graph.plan(FeatureKey(key))
        views = self.views(key, chosen.rows)
        joined: list[tuple[dict[str, Any], dict[tuple[str, str], str | None], dict[str, Any]]] = [
            ({}, {}, {})
        ]
        required = [v for v in views if not v[0]]
        if required:
            for _, upstream, rows in required:
                joined = [
                    (
                        merged,
                        versions | {(upstream, f): one for f, one in by_field.items()},
                        columns | more,
                    )
                    for known, versions, columns in joined
                    for join, by_field, more in rows
                    if (merged := _merge([known, join])) is not None
                ]
        else:
            every = {tuple(sorted(join.items())) for _, _, rows in views for join, _, _ in rows}
            joined = [(dict(join), {}, {}) for join in every]
        for optional, upstream, rows in views:
            if not optional:
                continue
            extended = []
            for join, versions, columns in joined:
                matches = [one for one in rows if _merge([join, one[0]]) is not None]
                for match, by_field, more in matches or [({}, {}, {})]:
                    known = {(upstream, f): version for f, version in by_field.items()}
                    extended.append(({**join, **match}, {**versions, **known}, {**columns, **more}))
            joined = extended
        names = self.sample_columns(key)
        result = {}
        for join, versions, columns in joined:
            sample = tuple(join.get(name) for name in names)
            if None in sample:
                continue
            provenance = {
                str(f.key): md5(
                    enc(str(f.key))
                    + enc(f.code_version)
                    + enc(str(len(f.parents)))
                    + "".join(
                        enc(f"{p.feature}:{p.field}")
                        + enc(versions.get((str(p.feature), str(p.field))))
                        for p in f.parents
                    )
                )
                for f in plan.fields
            }
            result[sample] = Expected(provenance, {**columns, **join})
        return result

    def sample_columns(self, key: str) -> list[str]:
        plan = self.graph.plan(FeatureKey(key))
        known = {name for dep in plan.deps for name in dep.join_columns}
        return [name for name in plan.spec.id_columns if name in known]

    # What must be done

    def resolve(self, key: str, chosen: Chosen = EVERYTHING) -> dict[Ids, str]:
        """Sample -> new, stale or orphaned."""
        called = self.called_for(key, chosen)
        names = self.sample_columns(key)
        stored: dict[Ids, list[Row]] = {}
        for row in self.stored(key).values():
            stored.setdefault(tuple(row.values[name] for name in names), []).append(row)
        result = {}
        for sample in called.keys() | stored.keys():
            rows = stored.get(sample)
            if sample not in called:
                if rows and self.is_within(key, chosen, rows):
                    result[sample] = "orphaned"
                continue
            expected = called[sample]
            if chosen.sample is not None and chosen.sample(expected.columns) is not True:
                continue
            if rows is None:
                if self.is_empty(key, sample, expected.provenance):
                    continue
                result[sample] = "new"
            elif any(row.provenance != expected.provenance for row in rows) or (
                # Stored elsewhere: it has moved.
                key in chosen.rows and not self.is_within(key, chosen, rows)
            ):
                result[sample] = "stale"
        return result

    def is_within(self, key: str, chosen: Chosen, rows: Iterable[Row]) -> bool:
        """Whether stored rows of a sample are looked at, as far as their own columns tell."""
        own = chosen.rows.get(key)
        if own is not None:
            return any(own(row.values) is True for row in rows)
        if chosen.sample is None:
            return True
        known = self.columns(key)
        if not chosen.columns <= known:
            return False
        return any(chosen.sample(row.values) is True for row in rows)

    def columns(self, key: str) -> set[str]:
        """The columns that are stored."""
        return {name for row in self.stored(key).values() for name in row.values}

    def is_empty(self, key: str, sample: Ids, provenance: dict[str, str]) -> bool:
        mark = self.empty(key).get(sample)
        return mark is not None and mark.provenance == provenance

    def unchanged(self, key: str) -> set[Ids]:
        """Samples that need nothing."""
        return self.expected(key).keys() - self.resolve(key).keys()

    def changed_since(self, key: str, then: int) -> set[Ids]:
        """Samples of which rows or marks were written after a moment, and are still there."""
        names = self.sample_columns(key)
        rows = [r for r in self.stored(key).values() if r.at > then]
        written = {tuple(row.values[name] for name in names) for row in rows}
        return written | {s for s, mark in self.empty(key).items() if mark.at > then}

    # What is done

    def upsert(self, key: str, rows: Iterable[Row]) -> None:
        self.now += 1
        plan = self.graph.plan(FeatureKey(key))
        written = list(rows)
        for row in written:
            self.empty(key).pop(tuple(row.values[n] for n in self.sample_columns(key)), None)
        if any(dep.lineage_type == "expansion" for dep in plan.deps):
            names = self.sample_columns(key)
            provenance = {tuple(r.values[n] for n in names): r.provenance for r in written}
            for ids, row in list(self.stored(key).items()):
                parent = tuple(row.values[n] for n in names)
                if parent in provenance and row.provenance != provenance[parent]:
                    del self.stored(key)[ids]
        for row in written:
            ids = tuple(row.values[name] for name in plan.spec.id_columns)
            before = self.stored(key).get(ids)
            row.at = self.now if before is None else before.at
            if row != before:
                self.stored(key)[ids] = row
                row.at = self.now

    def mark(self, key: str, samples: Mapping[Ids, dict[str, str]]) -> None:
        """Samples with their provenances were computed and yielded nothing."""
        self.now += 1
        names = self.sample_columns(key)
        for ids, row in list(self.stored(key).items()):
            if tuple(row.values[n] for n in names) in samples:
                del self.stored(key)[ids]
        for sample, provenance in samples.items():
            if not self.is_empty(key, sample, provenance):
                self.empty(key)[sample] = Mark(provenance, self.now)

    def delete(self, key: str, ids: Iterable[Ids]) -> None:
        for one in ids:
            self.stored(key).pop(one, None)

    def drop(self, key: str) -> None:
        self.rows[key] = {}
        self.marks[key] = {}

    def copy(self) -> Oracle:
        """The same samples, which go their own way from here; by the graph as it is then."""
        other = Oracle(self.graph)
        other.restore(self)
        return other

    def restore(self, other: Oracle) -> None:
        """Hold what another one holds; the moments go on."""
        self.rows, self.marks = copy.deepcopy((other.rows, other.marks))
        self.now = max(self.now, other.now)


def _merge(joins: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    merged: dict[str, Any] = {}
    for join in joins:
        for name, value in join.items():
            # NULL joins with nothing, not even with NULL.
            if name in merged and (merged[name] != value or value is None):
                return None
            merged[name] = value
    return merged


def _holds(node: Any, values: Mapping[str, Any]) -> bool | None:  # noqa: PLR0911 - one a node
    """Three-valued logic, as in SQL."""
    kind = type(node).__name__
    if kind in ("And", "Or"):
        found = [_holds(part, values) for part in node.parts]
        decisive = kind == "Or"
        if decisive in found:
            return decisive
        return None if None in found else not decisive
    if kind == "Not":
        inner = _holds(node.part, values)
        return None if inner is None else not inner
    value = values.get(node.column)
    if kind == "IsNull":
        return (value is None) != node.negated
    if value is None:
        return None
    if kind == "In":
        return (value in node.values) != node.negated
    if kind == "Between":
        return (node.low <= value <= node.high) != node.negated
    return COMPARE[node.op](value, node.value)
