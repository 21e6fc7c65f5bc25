"""A stored feature gets other id columns: what names its samples, in all of its tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.features import FeatureKey, FeaturePlan
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file import layout, retention
from metaxy_dagster.stores.duckdb.file.catalog import Catalog, read_catalog
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.file.entries import save
from metaxy_dagster.stores.duckdb.file.identity import stored_ids, with_ids
from metaxy_dagster.stores.duckdb.read.versions import moved
from metaxy_dagster.stores.duckdb.resolve.views import sample_columns
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    CATALOG,
    columns,
    empty_table,
    history_table,
    literal,
    pending_table,
    quarantine_table,
    quote,
    table_of,
)
from metaxy_dagster.stores.duckdb.write.notes import renamed
from metaxy_dagster.stores.duckdb.write.removal import Removal
from metaxy_dagster.stores.id_migration import IdMigration

__all__ = ["Wanted", "migrate"]

_NUMBERED = "metaxy_numbered"
_KEEP = ("newest", "oldest", "none")
# Types that can name a sample.
_TYPES = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
    *("TIMESTAMP WITH TIME ZONE", "UUID"),
)
# In which type a constant is stored.
_CONSTANTS: Mapping[type, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    str: "VARCHAR",
    dt.datetime: "TIMESTAMP",
    dt.date: "DATE",
}


@dataclass(frozen=True)
class Wanted:
    """How a feature is to be named; the arguments are those of ``store.migrate_ids``."""

    plan: FeaturePlan
    rename: Mapping[str, str]
    fill: Mapping[str, object]
    types: Mapping[str, str]
    drop: tuple[str, ...]
    keep: str | None

    @property
    def ids(self) -> tuple[str, ...]:
        """The id columns that are declared."""
        return self.plan.spec.id_columns

    def check(self) -> None:
        """Refuse arguments that say nothing.

        Raises:
            StoreError: with what is allowed.
        """
        named = (*self.rename.values(), *self.fill, *self.types)
        self._require(set(named) <= set(self.ids), list(named), f"of the ids {list(self.ids)}")
        self._require(
            not set(self.drop) & set(self.ids), list(self.drop), "columns that are no ids"
        )
        given: list[object] = list(self.types.values())
        kinds = [one.upper() if isinstance(one, str) else shown(one) for one in given]
        self._require(set(kinds) <= set(_TYPES), kinds, list(_TYPES))
        keep: object = self.keep
        is_way = keep is None or (isinstance(keep, str) and keep in _KEEP)
        self._require(is_way, shown(keep), list(_KEEP))
        values = list(self.fill.values())
        known = all(type(value) in _CONSTANTS for value in values)
        self._require(known, values, "numbers, texts, dates, times, true or false")

    def check_stored(self, stored: Iterable[str]) -> None:
        """Refuse columns that are not there, and names that are taken.

        Raises:
            StoreError: with what is stored.
        """
        names = {fold(name) for name in stored}
        gone = {fold(name) for name in (*self.rename, *self.drop)}
        self._require(gone <= names, sorted(gone - names), f"of the columns {sorted(names)}")
        taken = {fold(name) for name in self.rename.values()} & (names - gone)
        self._require(not taken, sorted(taken), "names that no other column has")

    def _require(self, holds: bool, found: object, allowed: object) -> None:  # noqa: FBT001 - as of assert
        if not holds:
            raise StoreError(
                "the ids cannot be migrated in this way",
                feature=str(self.plan.key),
                found=found,
                allowed=allowed,
                remedy="correct the arguments of migrate_ids",
            )

    def columns_after(
        self, types: Mapping[str, str], ids: Iterable[str]
    ) -> dict[str, tuple[str, str | None]] | None:
        """The columns, each with its SQL, and with what it was made from.

        Args:
            types: the stored columns and their DuckDB types.
            ids: the id columns that there must be.

        Returns:
            Nothing if one of these is neither stored nor filled.
        """
        dropped = {fold(name) for name in self.drop}
        renamed = {fold(old): new for old, new in self.rename.items()}
        found: dict[str, tuple[str, str | None]] = {}
        for name, kind in types.items():
            if fold(name) not in dropped:
                here = renamed.get(fold(name), name)
                here = next((one for one in self.ids if fold(one) == fold(here)), here)
                found[here] = self._made(here, quote(name), kind), quote(name)
        wanted = list(ids)
        for name in wanted:
            if name not in found and name in self.fill:
                found[name] = self._constant(name), None
        return found if set(wanted) <= set(found) else None

    def _made(self, name: str, column: str, kind: str) -> str:
        if name in self.types:
            kind, column = self.types[name], f"TRY_CAST({column} AS {self.types[name]})"
        if name in self.fill:
            column = f"coalesce({column}, {self._constant(name)}::{kind})"
        return column

    def _constant(self, name: str) -> str:
        value = self.fill[name]
        return f"{literal(str(value))}::{self.types.get(name, _CONSTANTS[type(value)])}"


def migrate(
    file: DuckDBFile, wanted: Wanted, downstream: tuple[FeatureKey, ...], *, dry_run: bool
) -> IdMigration:
    """Migrate a feature, or tell what that would keep.

    Raises:
        StoreError: what cannot be decided without being told.
    """
    key = wanted.plan.key
    nothing = IdMigration(key, wanted.ids, wanted.ids, downstream=downstream)
    if not file.exists:
        return nothing
    with file.connect("r" if dry_run else "w") as connection:
        catalog = read_catalog(connection, [key])
        before = stored_ids(catalog.entry(key))
        if before is None or (set(before) == set(wanted.ids) and not wanted.types):
            return nothing
        found = replace(nothing, before=before)
        table = catalog.get(key)
        if table is not None:
            wanted.check_stored(table.columns)
            found = _looked_at(connection, wanted, table, found)
        if dry_run:
            return found
        _refuse_unclear(wanted, found)
        return _Rekeying(connection, wanted, catalog).run(found)


def _looked_at(
    connection: duckdb.DuckDBPyConnection, wanted: Wanted, table: layout.Table, found: IdMigration
) -> IdMigration:
    """Number the stored rows by their new ids, and count what becomes of them."""
    rows = layout.count(connection, table_of(table.key))
    made = wanted.columns_after(table.types, wanted.ids)
    if made is None:
        known = {fold(name) for name in (*table.types, *wanted.rename.values(), *wanted.fill)}
        missing = tuple(name for name in wanted.ids if fold(name) not in known)
        return replace(found, rows=rows, nulls=rows, missing=missing)
    ids = ", ".join(f"{made[name][0]} AS {quote(name)}" for name in wanted.ids)
    null = " OR ".join(f"{quote(name)} IS NULL" for name in wanted.ids)
    lost = " OR ".join(
        f"({source} IS NOT NULL AND TRY_CAST({source} AS {wanted.types[name]}) IS NULL)"
        for name in wanted.types
        if (source := made[name][1]) is not None
    )
    order = "ASC" if wanted.keep == "oldest" else "DESC"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_NUMBERED} AS SELECT rid, ({null}) AS unnamed, lost,"
        f" count(*) OVER same AS alike, row_number() OVER (same ORDER BY metaxy_at {order},"
        f" rid {order}) AS place FROM (SELECT rowid AS rid, {ids}, ({lost or 'FALSE'}) AS lost,"
        f" {quote(c.COL_UPDATED_AT)} AS metaxy_at FROM {table_of(table.key)})"
        f" WINDOW same AS (PARTITION BY {columns(wanted.ids)})"
    )
    (counted,) = connection.execute(
        "SELECT count(*) FILTER (unnamed), count(*) FILTER (lost),"
        f" count(*) FILTER (alike > 1 AND NOT unnamed) FROM {_NUMBERED}"
    ).fetchall()
    nulls, without, alike = map(int, counted)
    gone = layout.count(connection, f"{_NUMBERED} WHERE {_leaving(wanted)}")
    return replace(found, rows=rows, kept=rows - gone, duplicates=alike, nulls=nulls, lost=without)


def _leaving(wanted: Wanted) -> str:
    """Which of the numbered rows cannot stay."""
    alike = "alike > 1" if wanted.keep in (None, "none") else "place > 1"
    return f"(unnamed OR lost OR {alike})"


def _refuse_unclear(wanted: Wanted, found: IdMigration) -> None:
    problems = []
    if found.missing:
        problems.append(f"{list(found.missing)} not stored")
    elif found.nulls:
        problems.append(f"{found.nulls} samples with null ids")
    if found.lost:
        problems.append(f"{found.lost} samples with ids that {dict(wanted.types)} cannot hold")
    if found.duplicates and wanted.keep is None:
        problems.append(f"{found.duplicates} samples that share their new ids with others")
    if not problems:
        return
    raise StoreError(
        "not every stored sample has new ids of its own",
        feature=str(found.feature),
        found=f"{', '.join(problems)}; of {found.rows} samples",
        allowed=f"id_columns {list(found.after)}, unique and not null; stored by "
        f"{list(found.before)}",
        remedy='say which of those alike stays: keep="newest", "oldest" or "none" (computed '
        "anew); give null or missing ids a constant: fill={...}; say what was renamed: "
        "rename={stored: new}; or drop the feature",
    )


@dataclass(frozen=True)
class _Rekeying:
    """One migration, on a connection that may write."""

    connection: duckdb.DuckDBPyConnection
    wanted: Wanted
    catalog: Catalog

    def run(self, found: IdMigration) -> IdMigration:
        """Rewrite all tables of the feature, in one transaction."""
        connection, wanted, key = self.connection, self.wanted, self.wanted.plan.key
        entry, commit = self.catalog.entry(key), self.catalog.commit.next()
        now, table, content = dt.datetime.now(dt.UTC), self.catalog.get(key), None
        marks = layout.describe_marks(connection, key) if entry.commits.emptied else None
        failures = _types_of(connection, quarantine_table(key)) if entry.failed else None
        connection.execute("BEGIN TRANSACTION")
        deleted = 0
        if table is not None:
            removal = Removal(connection, key, entry.commits)
            leaving = f"SELECT rid FROM {_NUMBERED} WHERE {_leaving(wanted)}"
            removal.add(f"rowid IN ({leaving})")
            removal.end(commit, now)
            deleted = removal.deleted
            archived = (history_table(key),) if deleted else table.history
            for name in (table_of(key), *archived):
                self._rewrite(name, table.types)
        connection.execute(f"DROP TABLE IF EXISTS {pending_table(key)}")
        commits = entry.commits.after(commit, ended=True, erased=True, archived=deleted > 0)
        forgotten, failed = 0, entry.failed
        if marks is not None:
            kept, gone = self._rename_samples(empty_table(key), marks)
            forgotten += gone
            commits = commits if kept else replace(commits, emptied=0)
        if failures is not None:
            failed, gone = self._rename_samples(quarantine_table(key), failures)
            forgotten += gone
        if table is not None:
            made = wanted.columns_after(table.types, wanted.ids) or {}
            known = {quote(name): name for name in table.types}
            names = {name: known[one] for name, (_, one) in made.items() if one in known}
            entry = renamed(entry, names)
            kinds = layout.describe(connection, key, entry).kinds
            content = moved(connection, wanted.plan.spec, kinds, None, commit, ended=True)
        spec = with_ids(entry.spec or "{}", wanted.ids)
        save(
            connection,
            key,
            replace(
                entry, spec=spec, commits=commits, failed=failed, watermark=None, content=content
            ),
            known=True,
        )
        connection.execute(
            f"INSERT INTO {CATALOG}.metaxy.commits VALUES"
            " (?, ?, 'migrate ids', 0, 0, ?, ?, ?, ?, ?)",
            [commit, str(key), deleted, entry.version, None, now, commit.token],
        )
        # What was read before has other columns.
        retention.note(connection, {str(key): commit}, commit)
        connection.execute("COMMIT")
        return replace(found, forgotten=forgotten, commit=commit)

    def _rewrite(self, table: str, types: Mapping[str, str]) -> None:
        made = self.wanted.columns_after(types, self.wanted.ids) or {}
        filled = [name for name, (_, source) in made.items() if source is None]
        names = [*filled, *(name for name in made if name not in filled)]
        user = ", ".join(f"{made[name][0]} AS {quote(name)}" for name in names)
        self.connection.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT {user},"
            f" * EXCLUDE ({columns(types)}) FROM {table}"
        )

    def _rename_samples(self, table: str, types: Mapping[str, str]) -> tuple[bool, int]:
        """Bring along rows that name samples: whether there are any left, and how many are not."""
        names, before = sample_columns(self.wanted.plan), layout.count(self.connection, table)
        made = self.wanted.columns_after(types, names)
        after = 0
        if made is not None:
            ended = layout.COL_ENDED in _types_of(self.connection, table, system=True)
            current = f" WHERE {quote(layout.COL_ENDED)} IS NULL" if ended else ""
            ids = ", ".join(f"{made[name][0]} AS {quote(name)}" for name in names)
            null = " OR ".join(f"{quote(name)} IS NULL" for name in names)
            # Of several that are one now, none says anything.
            self.connection.execute(
                f"CREATE OR REPLACE TABLE {table} AS SELECT {ids}, * EXCLUDE ({columns(types)})"
                f" FROM {table}{current} QUALIFY count(*) OVER (PARTITION BY"
                f" {', '.join(made[name][0] for name in names)}) = 1"
            )
            self.connection.execute(f"DELETE FROM {table} WHERE {null}")
            after = layout.count(self.connection, table)
        if not after:
            self.connection.execute(f"DROP TABLE {table}")
        return after > 0, before - after


def _types_of(
    connection: duckdb.DuckDBPyConnection, table: str, *, system: bool = False
) -> dict[str, str]:
    """The columns of a table and their types; those that name samples by default."""
    relation = connection.sql(f"SELECT * FROM {table} LIMIT 0")
    found = zip(relation.columns, relation.types, strict=True)
    return {n: str(kind) for n, kind in found if system or not n.startswith(c.PREFIX)}
