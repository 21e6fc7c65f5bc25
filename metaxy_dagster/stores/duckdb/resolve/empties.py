"""Samples that were computed and yielded nothing: marked in ``empty.<feature>``.

A mark holds the sample and the provenance that it was computed under. While that is what the
upstreams call for, the sample needs nothing; under any other it is new again, since nothing is
stored of it. A mark is valid from ``metaxy_commit`` up to, not including, ``metaxy_ended``, as
rows are; it ends when rows are written to the sample, when it is found empty under another
provenance, and by a delete. The table is made by the first mark. Whether there is one is told by
the list of commits, which is read anyway: features without marks pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.counts import NEW, ORPHANED, STALE, STATUS
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.entries import Commits
from metaxy_dagster.stores.duckdb.sql.identifiers import (
    CATALOG,
    columns,
    empty_table,
    quote,
    same_ids,
)
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.sql.widening import INTEGERS
from metaxy_dagster.stores.empties import EmptySamples

__all__ = ["EMPTIED", "Marks", "NewMarks", "collect", "find_marks"]

# The samples that a write found empty: sample columns and provenance.
EMPTIED = "metaxy_emptied"
_ASKED = "metaxy_asked"
_GIVEN = "metaxy_given_empty"
_FAILED = "metaxy_given_failed"
_SHOWN = 5
_COMMIT, _ENDED, _PROVENANCE = (
    quote(name) for name in (layout.COL_COMMIT, layout.COL_ENDED, c.COL_PROVENANCE)
)


@dataclass(frozen=True)
class Marks:
    """The marks that the file holds of one feature.

    Attributes:
        key: the feature.
        types: the sample columns and their DuckDB types.
        targets: the types in which the columns are wanted; those left out stay as they are.
    """

    key: FeatureKey
    types: Mapping[str, str]
    targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> str:
        """The table."""
        return empty_table(self.key)

    def typed(self, targets: Mapping[str, str]) -> Marks:
        """The same, with ids that compare with those of columns of other types."""
        return replace(self, targets=targets)

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these are sample columns."""
        known = {fold(name) for name in self.types}
        return all(fold(name) in known for name in names)

    def of(self, commit: int) -> str:
        """SQL for the marks as of a commit: sample columns and provenance."""
        return (
            f"SELECT {self._keys()}, {_PROVENANCE} FROM {self.table} WHERE {_COMMIT} <= {commit}"
            f" AND ({_ENDED} IS NULL OR {_ENDED} > {commit})"
        )

    def since(self, commit: int) -> str:
        """SQL for the sample columns of marks that began after a commit, and hold now."""
        return (
            f"SELECT {self._keys()} FROM {self.table}"
            f" WHERE {_ENDED} IS NULL AND {_COMMIT} > {commit}"
        )

    def changed(self, since: int, upto: int | None = None, *, but: int | None = None) -> str:
        """SQL for the sample columns of marks that began or ended after a commit.

        Args:
            since: the commit.
            upto: leave out what happened after this one.
            but: leave out what this one did.
        """
        within = " OR ".join(
            f"({column} > {since}"
            + ("" if upto is None else f" AND {column} <= {upto}")
            + ("" if but is None else f" AND {column} <> {but}")
            + ")"
            for column in (_COMMIT, _ENDED)
        )
        return f"SELECT {self._keys()} FROM {self.table} WHERE {within}"

    def end(
        self, connection: duckdb.DuckDBPyConnection, commit: int, rows: str, *, other: bool = False
    ) -> None:
        """End the marks of some samples.

        Args:
            connection: an open transaction.
            commit: that ends them.
            rows: a table with the sample columns.
            other: only marks of another provenance than its rows have.
        """
        on = same_ids(tuple(self.types), "m", "n")
        on += f" AND m.{_PROVENANCE} <> n.{_PROVENANCE}" if other else ""
        connection.execute(
            f"UPDATE {self.table} SET {_ENDED} = {commit} WHERE {_ENDED} IS NULL AND rowid IN"
            f" (SELECT m.rowid FROM {self.table} m JOIN {rows} n ON {on})"
        )

    def end_where(
        self,
        connection: duckdb.DuckDBPyConnection,
        commit: int,
        condition: str,
        values: Mapping[str, object],
        *,
        keep: bool,
    ) -> int:
        """End the marks for which a condition holds, or erase them with their past; how many."""
        statement = f"DELETE FROM {self.table} WHERE ({condition})"
        if keep:
            statement = (
                f"UPDATE {self.table} SET {_ENDED} = {commit} WHERE {_ENDED} IS NULL"
                f" AND ({condition})"
            )
        (row,) = connection.execute(statement, dict(values) or None).fetchall()
        return int(row[0])

    def _keys(self) -> str:
        return ", ".join(
            f"TRY_CAST({quote(name)} AS {self.targets[name]}) AS {quote(name)}"
            if self.targets.get(name, kind) != kind
            and not {self.targets[name], kind} <= set(INTEGERS)
            else quote(name)
            for name, kind in self.types.items()
        )


def find_marks(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    names: Sequence[str],
    commits: Commits,
) -> Marks | None:
    """The marks of a feature; ``None`` if there never were any for these sample columns."""
    if not commits.emptied:
        return None
    types = layout.describe_marks(connection, key)
    # Those of other columns tell of another feature, which had the same key.
    return Marks(key, types) if set(types) == set(names) else None


@dataclass(frozen=True)
class NewMarks:
    """What a write marks.

    Attributes:
        key: the feature.
        names: its sample columns.
        before: the marks that there are.
        number: samples that were not marked under their provenance before.
    """

    key: FeatureKey
    names: tuple[str, ...]
    before: Marks | None
    number: int

    def keep(
        self,
        connection: duckdb.DuckDBPyConnection,
        commit: int,
        version: str,
        materialization_id: str | None,
    ) -> None:
        """Mark the samples, inside the transaction of the write."""
        if not self.number:
            return
        rows = f"SELECT * FROM {EMPTIED} n"
        if self.before is not None:
            self.before.end(connection, commit, EMPTIED, other=True)
            rows = _unmarked(self.before)
        made = (
            f"SELECT {columns(self.names)}, {_PROVENANCE},"
            f" $version::VARCHAR AS {quote(c.COL_FEATURE_VERSION)},"
            f" now() AS {quote(c.COL_CREATED_AT)},"
            f" $id::VARCHAR AS {quote(c.COL_MATERIALIZATION_ID)},"
            f" $commit::BIGINT AS {_COMMIT}, NULL::BIGINT AS {_ENDED} FROM ({rows})"
        )
        table = empty_table(self.key)
        statement = f"INSERT INTO {table} BY NAME {made}"
        if self.before is None:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.empty")
            statement = f"CREATE OR REPLACE TABLE {table} AS {made}"
        elif self._is_wider(connection, self.before):
            # An id arrived in a wider type than before.
            statement = (
                f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} UNION ALL BY NAME {made}"
            )
        values = {"version": version, "id": materialization_id, "commit": commit}
        connection.execute(statement, values)

    def _is_wider(self, connection: duckdb.DuckDBPyConnection, before: Marks) -> bool:
        found = connection.sql(f"SELECT * FROM {EMPTIED} LIMIT 0")
        types = dict(zip(found.columns, map(str, found.types), strict=True))
        return any(types[name] != kind for name, kind in before.types.items())


def collect(
    connection: duckdb.DuckDBPyConnection,
    key: FeatureKey,
    delta: pa.Table,
    empty: EmptySamples,
    *,
    names: tuple[str, ...],
    marks: Marks | None,
    stage: str | None,
    table: str | None,
) -> NewMarks:
    """Collect the samples that a write found empty in the temporary table ``EMPTIED``.

    Args:
        connection: an open transaction.
        key: the feature.
        delta: the list of the increment that is answered.
        empty: which of its samples yielded nothing.
        names: the sample columns.
        marks: those that there are.
        stage: the rows that are written at the same time; ``None`` if there are none.
        table: the stored rows; ``None`` if there are none.

    Raises:
        FrameError: samples that the increment did not ask for, or that the frame has too.
    """
    keys = columns(names)
    register(connection, _ASKED, delta)
    picked = f"SELECT {keys}, {_PROVENANCE} FROM {_ASKED} WHERE {quote(STATUS)}"
    if empty.samples is not None:
        register(connection, _GIVEN, empty.samples)
        _check_given(connection, key, keys, stage)
        rows = f"SELECT * FROM ({picked} <> {ORPHANED}) SEMI JOIN {_GIVEN} USING ({keys})"
    else:
        rows = f"{picked} IN ({NEW}, {STALE})"
        others = [stage] if stage is not None else []
        if empty.failed is not None:
            register(connection, _FAILED, empty.failed)
            others.append(_FAILED)
        if empty.since is not None and table is not None:
            # Rows that were only invalidated meanwhile were not written.
            written = f"{_COMMIT} > {empty.since} AND {quote(c.COL_FEATURE_VERSION)} IS NOT NULL"
            others.append(f"(SELECT {keys} FROM {table} WHERE {written})")
        if empty.since is not None and marks is not None:
            listed = connection.sql(f"SELECT {keys} FROM {_ASKED} LIMIT 0")
            kinds = dict(zip(listed.columns, map(str, listed.types), strict=True))
            others.append(f"({marks.typed(kinds).since(empty.since)})")
        for one in others:
            rows = f"SELECT * FROM ({rows}) ANTI JOIN {one} USING ({keys})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {EMPTIED} AS {rows}")
    number = layout.count(connection, EMPTIED if marks is None else f"({_unmarked(marks)})")
    return NewMarks(key, names, marks, number)


def _unmarked(marks: Marks) -> str:
    """The samples of ``EMPTIED`` that are not marked just so."""
    return (
        f"SELECT n.* FROM {EMPTIED} n WHERE NOT EXISTS (SELECT 1 FROM {marks.table} m"
        f" WHERE m.{_ENDED} IS NULL AND {same_ids(tuple(marks.types), 'm', 'n')}"
        f" AND m.{_PROVENANCE} = n.{_PROVENANCE})"
    )


def _check_given(
    connection: duckdb.DuckDBPyConnection, key: FeatureKey, keys: str, stage: str | None
) -> None:
    """Refuse samples that cannot be empty."""
    listed = f"(SELECT * FROM {_ASKED} WHERE {quote(STATUS)} <> {ORPHANED})"
    strangers = connection.execute(
        f"SELECT {keys} FROM {_GIVEN} ANTI JOIN {listed} USING ({keys})"
    ).fetchall()
    if strangers:
        raise FrameError(
            "samples were called empty that the increment did not ask for",
            feature=str(key),
            found=f"{len(strangers)} samples, for example {strangers[:_SHOWN]}",
            allowed="samples that the increment lists as new or stale",
            remedy="name only ids that came in through the increment's frames",
        )
    if stage is None:
        return
    both = connection.execute(
        f"SELECT DISTINCT {keys} FROM {_GIVEN} SEMI JOIN {stage} USING ({keys})"
    ).fetchall()
    if both:
        raise FrameError(
            "samples were called empty that the frame has rows of",
            feature=str(key),
            found=f"{len(both)} samples, for example {both[:_SHOWN]}",
            remedy="leave them out of the frame, or out of empty=",
        )
