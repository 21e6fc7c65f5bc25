"""One view per upstream: its join columns in the feature's names, and its data versions.

Identity and expansion read the upstream row by row; aggregation reads one row per group, whose
version combines the (member id, data version) pairs in member id order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features import (
    DepPlan,
    FeatureKey,
    FeaturePlan,
    FieldKey,
    Filter,
    ParentField,
)
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.file.declared import declared_types
from metaxy_dagster.stores.duckdb.file.layout import Table
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values, encoded, id_text

__all__ = ["AGGREGATION", "UpstreamView", "carried_columns", "joined_views", "sample_columns"]

AGGREGATION = "aggregation"


def sample_columns(plan: FeaturePlan) -> tuple[str, ...]:
    """The columns on which samples are compared: all ids, or the parent's in an expansion."""
    if plan.is_root:
        return plan.spec.id_columns
    known = {name for dep in plan.deps for name in dep.join_columns}
    return tuple(name for name in plan.spec.id_columns if name in known)


def join_order(plan: FeaturePlan) -> list[tuple[str, int, tuple[str, ...]]]:
    """How the views are joined: (kind of join, index of the dep, columns shared so far).

    Required upstreams come first and decide which samples exist; optional ones only add to
    them, unless all are optional. The first entry has no join.
    """
    required = [i for i, dep in enumerate(plan.deps) if not dep.dep.optional]
    optional = [i for i, dep in enumerate(plan.deps) if dep.dep.optional]
    order: list[tuple[str, int, tuple[str, ...]]] = []
    seen: list[str] = []
    for pending, kind in ((required, "JOIN"), (optional, "LEFT JOIN" if required else "FULL JOIN")):
        # The finest grain first, so that every later one shares a column with what is there.
        waiting = sorted(pending, key=lambda i: -len(plan.deps[i].join_columns))
        while waiting:
            index = next(
                (i for i in waiting if not seen or set(plan.deps[i].join_columns) & set(seen)),
                waiting[0],
            )
            waiting.remove(index)
            names = plan.deps[index].join_columns
            order.append((kind, index, tuple(name for name in names if name in seen)))
            seen += [name for name in names if name not in seen]
    return order


def joined_views(plan: FeaturePlan) -> str:
    """The views of all upstreams, joined."""
    terms = ""
    for kind, index, shared in join_order(plan):
        term = f"d{index}"
        terms += f" {kind} {term} USING ({columns(shared)})" if terms else term
    return terms


@dataclass(frozen=True)
class UpstreamView:
    """The view ``d<index>`` of one upstream of a feature."""

    plan: FeaturePlan
    index: int
    catalog: Catalog
    upstream_class: type | None = None
    # Of one resolve, beside those of the dependency, and in the upstream's own names.
    chosen: tuple[Filter, ...] = ()
    # To the file, where it may pay to decide the texts of a column once for all rows.
    connection: duckdb.DuckDBPyConnection | None = None

    @property
    def table(self) -> Table | None:
        """The upstream's table; ``None`` if it was never written."""
        return self.catalog.get(self.key)

    @property
    def declared(self) -> Mapping[str, str]:
        """The upstream's columns before it was ever written, and their types."""
        declared = declared_types(self.dep.upstream, self.upstream_class)
        return {**declared, **self.catalog.marked.get(self.key, {})}

    @property
    def dep(self) -> DepPlan:
        """The dependency that this view reads."""
        return self.plan.deps[self.index]

    @property
    def key(self) -> FeatureKey:
        """The upstream's key."""
        return self.dep.upstream.key

    @property
    def name(self) -> str:
        """The view's name in the query."""
        return f"d{self.index}"

    def version_column(self, field: FieldKey) -> str:
        """The quoted column that holds the data version of an upstream field."""
        return quote(f"metaxy_{self.index}:{field}")

    def versions(self) -> Iterator[tuple[ParentField, str]]:
        """Each upstream field that is used, with its column."""
        for field in self.dep.used_fields:
            yield ParentField(self.key, field), self.version_column(field)

    def user_columns(self) -> Mapping[str, str]:
        """The upstream's other columns, after select and rename: name here -> name there."""
        if self.dep.lineage_type == AGGREGATION:
            return {}
        dep, table = self.dep.dep, self.table
        known = tuple(self.declared) if table is None else table.columns
        offered = {dep.name_here(name): name for name in known}
        names = tuple(offered) if dep.select is None else dep.select
        missing = [name for name in names if name not in offered]
        if table is None:
            names = tuple(name for name in names if name in offered)
        elif missing:
            raise FeatureError(
                f"select names columns that upstream {str(self.key)!r} does not have",
                feature=str(self.plan.key),
                found=missing,
                allowed=list(offered),
                remedy="correct the select of this dependency",
            )
        return {name: offered[name] for name in names if name not in self.dep.join_columns}

    def kinds(self) -> Mapping[str, str]:
        """The types of :meth:`user_columns`: name here -> DuckDB type."""
        types = self.declared if self.table is None else self.table.types
        return {here: types[there] for here, there in self.user_columns().items()}

    def filter(self, values: Values) -> str:
        """The filters of the dependency and of the resolve, as a condition on the rows."""
        dep, where = self.dep.dep, f"upstream {str(self.key)!r}"
        types = {} if self.table is None else self.table.types
        always = condition(
            dep.filters,
            {dep.name_here(name): quote(name) for name in types},
            values,
            where=where,
            types={dep.name_here(name): kind for name, kind in types.items()},
            exact=False,
        )
        if not self.chosen or self.table is None:
            return always
        names = {name: quote(name) for name in types}
        rows = self.catalog.rows(self.key, tuple(types))
        texts = None if self.connection is None else DistinctTexts(self.connection, rows)
        chosen = condition(
            self.chosen, names, values, where=where, types=types, exact=False, texts=texts
        )
        return f"{always} AND {chosen}"

    def sql(self, values: Values, extra: Sequence[str] = (), only: str | None = None) -> str:
        """The view's SELECT.

        Args:
            values: receives the literals of the dependency's filters.
            extra: names (here) of further columns to expose.
            only: a table of samples; rows that belong to none of them are left out.
        """
        if self.table is None:
            return self._empty(extra)
        table = self.table
        self._check_groups(table)
        stored = table.fields[c.COL_DATA_VERSION_BY_FIELD]
        source = self.dep.source_columns
        keys = [f"{quote(source[name])} AS {quote(name)}" for name in self.dep.join_columns]
        user = self.user_columns()
        keys += [f"{quote(user[name])} AS {quote(name)}" for name in extra]
        versions = {
            field: _data_version(str(field)) if str(field) in stored else "NULL::VARCHAR"
            for field in self.dep.used_fields
        }
        where = self.filter(values)
        structs = (c.COL_DATA_VERSION_BY_FIELD, c.COL_PROVENANCE_BY_FIELD)
        rows = self.catalog.rows(self.key, (*table.columns, *structs), raw=True)
        if only is not None:
            on = " AND ".join(f"r.{quote(source[n])} = k.{quote(n)}" for n in source)
            rows = f"SELECT r.* FROM ({rows}) r SEMI JOIN {only} k ON {on}"
        if self.dep.lineage_type == AGGREGATION:
            return self._aggregated(table, rows, where, keys, versions)
        selected = keys + [f"{sql} AS {self.version_column(f)}" for f, sql in versions.items()]
        return f"SELECT {', '.join(selected)} FROM ({rows}) WHERE {where}"

    def _check_groups(self, table: Table) -> None:
        """Refuse an aggregation over columns that the upstream does not store."""
        known = set(map(fold, table.columns))
        source = self.dep.source_columns
        missing = [there for there in source.values() if fold(there) not in known]
        if missing:
            raise FeatureError(
                f"upstream {str(self.key)!r} has no column to group by",
                feature=str(self.plan.key),
                found=f"no column {', '.join(map(repr, missing))}",
                allowed=list(table.columns),
                remedy="have the upstream return this column, name another one in the dependency's "
                '"lineage": {"type": "aggregation", "on": [...]}, or rename a column of the '
                'upstream to it with "rename"',
            )

    def _aggregated(
        self,
        table: Table,
        rows: str,
        where: str,
        keys: list[str],
        versions: Mapping[FieldKey, str],
    ) -> str:
        kinds = table.kinds
        member = " || ".join(
            encoded(id_text(quote(name), kinds[name])) for name in self.dep.member_columns
        )
        selected = keys + [
            f"md5(string_agg(metaxy_member || {encoded(sql)}, '' ORDER BY metaxy_member))"
            f" AS {self.version_column(field)}"
            for field, sql in versions.items()
        ]
        group = columns(self.dep.source_columns[name] for name in self.dep.join_columns)
        inner = f"SELECT *, {member} AS metaxy_member FROM ({rows}) WHERE {where}"
        return f"SELECT {', '.join(selected)} FROM ({inner}) GROUP BY {group}"

    def _empty(self, extra: Sequence[str]) -> str:
        """An upstream that was never written is an empty one."""
        names = [f"NULL AS {quote(name)}" for name in self.dep.join_columns]
        kinds, source = self.declared, self.user_columns()
        names += [f"NULL::{kinds[source[name]]} AS {quote(name)}" for name in extra]
        names += [f"NULL::VARCHAR AS {column}" for _, column in self.versions()]
        return f"SELECT {', '.join(names)} WHERE FALSE"


def _data_version(field: str) -> str:
    """The data version of a stored field: its own, or what it was computed from."""
    own, provenance = quote(c.COL_DATA_VERSION_BY_FIELD), quote(c.COL_PROVENANCE_BY_FIELD)
    return f"coalesce({own}.{quote(field)}, {provenance}.{quote(field)})"


def carried_columns(plan: FeaturePlan, views: Sequence[UpstreamView]) -> tuple[str, ...]:
    """All upstream columns of the increment's frames.

    Raises:
        FeatureError: two upstreams bring a column of the same name.
    """
    # Beside each other, é and É are refused too: the increment goes to other engines.
    owners: dict[str, str] = {}
    ids = set(map(fold, plan.spec.id_columns))
    for view in views:
        for name in view.user_columns():
            other = owners.setdefault(name.casefold(), str(view.key))
            if other != str(view.key) or fold(name) in ids:
                raise FeatureError(
                    f"upstreams {other!r} and {str(view.key)!r} both bring column {name!r}",
                    feature=str(plan.key),
                    found=name,
                    remedy="rename or leave out one of them: FeatureDep(rename={...}) or "
                    "FeatureDep(select=[...])",
                )
    return tuple(name for view in views for name in view.user_columns())
