"""The full resolve: one query that says which samples are new, stale or orphaned, and why.

A single full join compares ``expected``, one row per sample called for, with ``own``, the stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import FeatureKey, FeaturePlan, Filter, ParentField
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.counts import NEW, ORPHANED, STATUS, UNCHANGED
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.declared import no_rows
from metaxy_dagster.stores.duckdb.file.entries import Watermark
from metaxy_dagster.stores.duckdb.file.identity import checked_catalog
from metaxy_dagster.stores.duckdb.read.query import Query
from metaxy_dagster.stores.duckdb.resolve.candidates import CANDIDATES, find_candidates, has_news
from metaxy_dagster.stores.duckdb.resolve.empties import Marks, find_marks
from metaxy_dagster.stores.duckdb.resolve.narrowing import Narrowing
from metaxy_dagster.stores.duckdb.resolve.statuses import status
from metaxy_dagster.stores.duckdb.resolve.stored import StoredSide
from metaxy_dagster.stores.duckdb.resolve.telling import told_of
from metaxy_dagster.stores.duckdb.resolve.views import (
    UpstreamView,
    carried_columns,
    joined_views,
    sample_columns,
)
from metaxy_dagster.stores.duckdb.resolve.watermark import fingerprint, read_watermark
from metaxy_dagster.stores.duckdb.sql import provenance
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values

__all__ = ["Resolve"]

SAMPLES = "metaxy_samples"
DELTA = "metaxy_delta"
# Types of values that may be large; a frame reads them only when they are asked for.
_BULKY = re.compile(r"\]|BLOB|STRUCT|MAP|JSON|UNION|VARIANT")


@dataclass(frozen=True)
class Resolve:
    """One question to the store: what must be computed for a feature, as of a commit?

    Attributes:
        plan: the feature and its upstreams.
        feature_version: its current version; a root's stored rows of another one are stale.
        commit: the state that is looked at.
        samples: for a root, one row per expected sample with its provenance by field.
        filters: only samples for which these hold are looked at.
        by_feature: the same of the rows of single upstreams, and of the stored feature, each in
            its own names.
        stale_when: stored samples for which these hold count as stale whatever their provenance.
        keep_unchanged: also list samples that need nothing.
        max_incremental_share: use what an earlier resolve found out while no more than this share
            of the stored samples may have changed; above it, a full resolve costs less.
        classes: of the upstreams; they tell the columns of those that were never written.
    """

    plan: FeaturePlan
    feature_version: str
    commit: int
    samples: pa.Table | None = None
    filters: tuple[Filter, ...] = ()
    stale_when: tuple[Filter, ...] = ()
    keep_unchanged: bool = False
    max_incremental_share: float = 0.3
    classes: Mapping[FeatureKey, type | None] = field(default_factory=dict)
    by_feature: Mapping[FeatureKey, tuple[Filter, ...]] = field(default_factory=dict)

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """The columns that name a row of the increment."""
        return sample_columns(self.plan)

    def open(self, connection: duckdb.DuckDBPyConnection, *, compare: bool = False) -> OpenResolve:
        """Look at the file's tables, as of the commit.

        Args:
            connection: an open one.
            compare: whether samples will be compared; then a watermark may narrow them down.
        """
        catalog = checked_catalog(connection, self.plan, self.commit)
        if not compare:
            return OpenResolve(self, catalog)
        key, known = self.plan.key, catalog.entry(self.plan.key).commits
        marks = find_marks(connection, key, self.sample_columns, known)
        found = self._candidates(connection, catalog, marks)
        narrowed = found
        if found is None and self.max_incremental_share and not self.plan.is_root:
            narrowing = Narrowing(self.plan, self.filters, self.by_feature, self.classes, catalog)
            narrowed = narrowing.collect(connection, self.max_incremental_share)
        candidates = None if narrowed is None else CANDIDATES
        return OpenResolve(self, catalog, candidates, marks, is_settled=found == 0)

    @property
    def is_whole(self) -> bool:
        """Whether it looks at all samples, by provenance alone; only then it moves a watermark."""
        return not (self.plan.is_root or self.filters or self.by_feature or self.stale_when)

    @property
    def given_versions(self) -> tuple[str, ...]:
        """The column of data versions, if the samples of a root bring some."""
        names = () if self.samples is None else self.samples.column_names
        return tuple(name for name in names if name == c.COL_DATA_VERSION_BY_FIELD)

    @property
    def fingerprint(self) -> str:
        """Of the feature's definition; watermarks hold for one definition only."""
        return fingerprint(self.plan, self.feature_version)

    def is_settled(self, catalog: Catalog) -> bool:
        """Whether entries as of the commit tell, without any table, that nothing is pending."""
        mark = self._mark(catalog)
        return mark is not None and not has_news(self.plan, catalog, mark)

    def _mark(self, catalog: Catalog) -> Watermark | None:
        """The watermark, if this resolve may go by it."""
        if not self.max_incremental_share or self.keep_unchanged:
            return None
        # What is known of all samples is known of some.
        if self.plan.is_root or self.by_feature or self.stale_when:
            return None
        if not catalog.entry(self.plan.key).stored:
            return None
        return read_watermark(self.plan, self.fingerprint, catalog)

    def _candidates(
        self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, marks: Marks | None
    ) -> int | None:
        mark = self._mark(catalog)
        if mark is None:
            return None
        keys, share = self.sample_columns, self.max_incremental_share
        return find_candidates(
            connection, self.plan, keys, catalog, mark=mark, max_share=share, marks=marks
        )


@dataclass
class OpenResolve:
    """A resolve against the tables that are really there; writes the queries."""

    resolve: Resolve
    catalog: Catalog
    candidates: str | None = None
    marks: Marks | None = None
    # Nothing can have changed: there is nothing to compare.
    is_settled: bool = False
    carried: tuple[str, ...] = ()
    values: Values = field(default_factory=Values)

    def __post_init__(self) -> None:
        self._plan = self.resolve.plan
        self._own = self.catalog.get(self._plan.key)
        self._views = [
            UpstreamView(
                self._plan,
                i,
                self.catalog,
                self.resolve.classes.get(dep.upstream.key),
                self.resolve.by_feature.get(dep.upstream.key, ()),
            )
            for i, dep in enumerate(self._plan.deps)
        ]
        self._keys = self.resolve.sample_columns
        self._stored = StoredSide(
            self._plan,
            self.resolve.feature_version,
            self._keys,
            self.catalog,
            self._views,
            self.resolve.samples,
            self.candidates,
            self.marks,
            bool(self.resolve.given_versions),
        )

    def delta(self, *, filled: bool = False, ordered: bool = False) -> Query:
        """Sample columns, status, provenance by field, provenance.

        Args:
            filled: the upstream columns too, so that frames need no second look at the upstreams.
            ordered: by the sample columns.
        """
        keys = columns(self._keys)
        self.carried = carried_columns(self._plan, self._views) if filled else ()
        if self.is_settled:
            return self._query(self._nothing())
        more = (*self.resolve.given_versions, *self.carried)
        user = "".join(f", e.{quote(name)}" for name in more)
        order = f" ORDER BY {keys}" if ordered else ""
        sql = (
            f"{self._with()} SELECT {keys}, {self._status()} AS {quote(STATUS)},"
            f" {quote(c.COL_PROVENANCE_BY_FIELD)}, e.{quote(c.COL_PROVENANCE)}{user}"
            f" {self._compared()}{order}"
        )
        return self._query(sql)

    @property
    def stored_types(self) -> Mapping[str, str]:
        """The columns of the stored feature and their types; none if it was never written."""
        return {} if self._own is None else self._own.types

    @property
    def is_slim(self) -> bool:
        """Whether the upstream columns are small values, cheap to carry along."""
        kinds = [
            view.table.types[there]
            for view in self._views
            if view.table is not None
            for there in view.user_columns().values()
        ]
        return bool(self._views) and not any(_BULKY.search(kind) for kind in kinds)

    def counts(self) -> Query:
        """Rows of (status, number of samples)."""
        sql = (
            f"{self._with()} SELECT {self._status()} AS status, count(*) AS samples"
            f" {self._compared()} GROUP BY ALL"
        )
        return self._query(sql)

    def frame(self, delta: pa.Table, statuses: Sequence[int]) -> Query:
        """What a function computes from: ids, upstream columns and the provenance to write."""
        wanted = ", ".join(map(str, statuses))
        user = carried_columns(self._plan, self._views)
        version = self.values.bind(self.resolve.feature_version)
        selected = [
            columns(self._keys),
            *(quote(name) for name in user),
            f"d.{quote(c.COL_PROVENANCE_BY_FIELD)}",
            f"d.{quote(c.COL_PROVENANCE)}",
            f"{version}::VARCHAR AS {quote(c.COL_FEATURE_VERSION)}",
            *(f"d.{quote(name)}" for name in self.resolve.given_versions),
        ]
        source = f"(SELECT * FROM {DELTA} WHERE {quote(STATUS)} IN ({wanted})) d"
        if user:
            clauses = ", ".join(
                f"{view.name} AS ({view.sql(self.values, tuple(view.user_columns()))})"
                for view in self._views
            )
            joined = f"SELECT {columns([*self._keys, *user])} FROM {joined_views(self._plan)}"
            source += f" JOIN ({joined}) USING ({columns(self._keys)})"
            sql = f"WITH {clauses} SELECT {', '.join(selected)} FROM {source}"
            return self.told(self._query(sql, delta))
        if self._plan.is_root and self.resolve.samples is not None:
            found = (n for n in self.resolve.samples.column_names if n not in self._keys)
            selected[1:1] = [f"s.{quote(n)}" for n in found if not n.startswith(c.PREFIX)]
            source += f" JOIN {SAMPLES} s USING ({columns(self._keys)})"
        return self.told(self._query(f"SELECT {', '.join(selected)} FROM {source}", delta))

    def told(self, query: Query) -> Query:
        """A query for a frame of samples, with what is known of their columns."""
        return query.told(*told_of(self._views, self.resolve.samples, self._own, self._keys))

    def orphaned(self, delta: pa.Table) -> Query:
        """The stored rows that nothing calls for any more."""
        rows = self.catalog.rows(self._plan.key, tuple(self.stored_types))
        sql = (
            f"SELECT r.* FROM ({rows}) r SEMI JOIN (SELECT * FROM {DELTA}"
            f" WHERE {quote(STATUS)} = {ORPHANED}) USING ({columns(self._keys)})"
        )
        return self._query(sql, delta).told(*told_of((), None, self._own, tuple(self.stored_types)))

    def upstream(self, samples: pa.Table | None, key: FeatureKey) -> Query:
        """The rows of an upstream that some samples (or, for ``None``, all) are computed from."""
        view = self._view(key)
        if view.table is None:
            return Query(no_rows(view.declared))
        told = told_of((), None, view.table, view.table.columns)
        if samples is not None and not samples.num_rows:
            return Query(no_rows(view.table.types)).told(*told)
        rows = self.catalog.rows(key, view.table.columns)
        if samples is None:
            # Whatever samples were chosen: who asks for all of them chooses by himself.
            view = replace(view, chosen=())
        sql = f"SELECT * FROM ({rows}) r WHERE {view.filter(self.values)}"
        if samples is None:
            return self._query(sql).told(*told)
        on = " AND ".join(
            f"r.{quote(there)} = k.{quote(here)}" for here, there in view.dep.source_columns.items()
        )
        sql = f"SELECT r.* FROM ({sql}) r SEMI JOIN {DELTA} k ON {on}"
        return self._query(sql, samples).told(*told)

    def _view(self, key: FeatureKey) -> UpstreamView:
        for view in self._views:
            if view.key == key:
                return view
        raise FeatureError(
            "the increment was asked for rows of a feature that is not one of its upstreams",
            feature=str(self._plan.key),
            found=str(key),
            allowed=[str(view.key) for view in self._views],
            remedy="ask for one of the upstreams, or declare the dependency",
        )

    def _query(self, sql: str, delta: pa.Table | None = None) -> Query:
        found = {SAMPLES: self.resolve.samples, DELTA: delta}
        tables = {name: table for name, table in found.items() if table is not None}
        return Query(sql, self.values, tables)

    def _with(self) -> str:
        clauses = [
            f"{view.name} AS ({view.sql(self.values, self._filtered(view), self.candidates)})"
            for view in self._views
        ]
        clauses.append(f"expected AS ({self._expected()})")
        if not self._stored.is_empty:
            resolve = self.resolve
            filters = resolve.filters, self._own_filters, resolve.stale_when
            own = self._stored.sql(*filters, self.values)
            clauses.append(f"own AS ({own})")
        return "WITH " + ", ".join(clauses)

    def _nothing(self) -> str:
        """What :meth:`delta` selects, without a row, in the same types."""
        selected = [self._stored.no_keys()]
        entries = {str(field.key): "NULL" for field in self._plan.fields}
        selected += [
            f"NULL::UTINYINT AS {quote(STATUS)}",
            f"{provenance.struct_of(entries)} AS {quote(c.COL_PROVENANCE_BY_FIELD)}",
            f"NULL::VARCHAR AS {quote(c.COL_PROVENANCE)}",
        ]
        kinds_of = {name: kind for view in self._views for name, kind in view.kinds().items()}
        selected += [f"NULL::{kinds_of[name]} AS {quote(name)}" for name in self.carried]
        return f"SELECT {', '.join(selected)} WHERE FALSE"

    def _filtered(self, view: UpstreamView) -> tuple[str, ...]:
        """The upstream columns that the resolve's filters need, or that are carried along."""
        wanted = {fold(name) for one in self.resolve.filters for name in one.columns}
        wanted |= {fold(name) for name in self.carried}
        return tuple(name for name in view.user_columns() if fold(name) in wanted)

    @property
    def _own_filters(self) -> tuple[Filter, ...]:
        """Which of the feature's stored rows are looked at, whatever the upstreams call for."""
        return self.resolve.by_feature.get(self._plan.key, ())

    def _named(self) -> list[str]:
        """The columns of the joined upstreams that are needed beside data versions."""
        extra = [name for view in self._views for name in self._filtered(view)]
        return [quote(name) for name in dict.fromkeys((*self._keys, *extra))]

    def _expected(self) -> str:
        """One row per sample that the upstreams (or the given samples) call for."""
        plan = self._plan
        versions: dict[ParentField, str] = {}
        for view in self._views:
            versions.update(view.versions())
        if plan.is_root:
            by_field = {
                f.key: f"{quote(c.COL_PROVENANCE_BY_FIELD)}.{quote(str(f.key))}"
                for f in plan.fields
            }
            source = SAMPLES
        else:
            by_field, source = provenance.field_provenances(
                plan.fields, versions, self.values, joined_views(self._plan), self._named()
            )
        scope = self._scope()
        aliases = {key: quote(f"metaxy_p:{key}") for key in by_field}
        hashed = ", ".join(f"{sql} AS {aliases[key]}" for key, sql in by_field.items())
        struct = provenance.struct_of({str(key): alias for key, alias in aliases.items()})
        whole = provenance.sample_provenance(aliases, self.values, hashed=not self._plan.is_root)
        present = " AND ".join(f"{quote(name)} IS NOT NULL" for name in self._keys)
        given, values = self.resolve.given_versions, self.values
        told = (provenance.sample_version(quote(one), aliases, values) for one in given)
        carried = "".join(f", {quote(name)}" for name in (*given, *self.carried))
        return (
            f"SELECT {self._stored.typed_keys()}, {struct} AS {quote(c.COL_PROVENANCE_BY_FIELD)},"
            f" {whole} AS {quote(c.COL_PROVENANCE)}, metaxy_in_scope,"
            f" TRUE AS metaxy_present{''.join(told)}{carried}"
            f" FROM (SELECT {columns(self._keys)}, {hashed},"
            f" {scope} AS metaxy_in_scope{carried} FROM {source} WHERE {present})"
        )

    def _scope(self) -> str:
        """The resolve's filters as a condition on the expected samples."""
        if not self.resolve.filters:
            return "TRUE"
        names, kinds = list(self._keys), dict[str, str]()
        if self.resolve.samples is not None:
            names += self.resolve.samples.column_names
        for view in self._views:
            kinds.update(view.kinds())
        return condition(
            self.resolve.filters,
            {name: quote(name) for name in (*names, *kinds)},
            self.values,
            where=f"the increment of {str(self._plan.key)!r}",
            types=kinds | self._stored.key_types(),
        )

    def _compared(self) -> str:
        """Expected samples beside stored ones; without any of these, all are new."""
        if self._stored.is_empty:
            return "FROM expected e WHERE e.metaxy_in_scope"
        return (
            f"FROM expected e FULL JOIN own o USING ({columns(self._keys)}) WHERE {self._wanted()}"
        )

    def _status(self) -> str:
        if self._stored.is_empty:
            return f"{NEW}::UTINYINT"
        return status(
            has_marks=self.marks is not None,
            has_own_filters=bool(self._own_filters),
            has_versions=bool(self.resolve.given_versions),
        )

    def _wanted(self) -> str:
        scope = (
            "(CASE WHEN e.metaxy_present IS NULL THEN o.metaxy_in_scope ELSE e.metaxy_in_scope END)"
        )
        if self.resolve.keep_unchanged:
            return scope
        return f"{scope} AND {self._status()} <> {UNCHANGED}"
