"""From a checked frame to a staged table, in which every row has its provenance.

Nothing is written to the feature here; whatever is refused is refused before the store changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FieldKey
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.counts import ORPHANED, STATUS
from metaxy_dagster.stores.duckdb.file.bulk import even_batches
from metaxy_dagster.stores.duckdb.file.layout import struct_type
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote, table_of
from metaxy_dagster.stores.duckdb.sql.provenance import (
    Literals,
    Values,
    sample_provenance,
    struct_of,
)
from metaxy_dagster.stores.duckdb.sql.registering import register
from metaxy_dagster.stores.duckdb.write.staged import COL_CONTENT, STAGE, Staged
from metaxy_dagster.stores.duckdb.write.types import Agreed
from metaxy_dagster.stores.frames.checks import SHOWN
from metaxy_dagster.stores.frames.spool import Spool

__all__ = ["check_asked_for", "stage", "unstage"]

_INPUT = "metaxy_input"
_DELTA = "metaxy_written_delta"
_LISTED = f"SELECT * FROM {_DELTA} WHERE {quote(STATUS)} <> {ORPHANED}"


def stage(
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    types: Mapping[str, Agreed],
    *,
    once: bool = False,
) -> None:
    """Make the temporary table of rows to write, in the stored types.

    Args:
        connection: an open transaction.
        staged: the checked frame.
        types: how each user column comes to the type that it is stored in.
        once: the rows will be read once, so that there is no need to keep them; whether the
            increment asked for them must then be checked once they were read.

    Raises:
        FrameError: rows that the increment did not ask for.
    """
    table = staged.table
    register(connection, _INPUT, table if isinstance(table, Spool) else even_batches(table))
    casts = {name: types[name].cast(f"i.{quote(name)}") for name in staged.user_columns}
    user = ", ".join(f"{cast} AS {quote(name)}" for name, cast in casts.items())
    source = f"{_INPUT} i"
    given = f"i.{quote(c.COL_PROVENANCE_BY_FIELD)}"
    if staged.delta is not None:
        given = f"d.{quote(c.COL_PROVENANCE_BY_FIELD)}"
        register(connection, _DELTA, staged.delta)
        source += f" JOIN ({_LISTED}) d USING ({columns(staged.sample_columns)})"
    values = Literals() if once else Values()
    fields = {field.key: f"{given}.{quote(str(field.key))}" for field in staged.plan.fields}
    if was_read := not once and staged.was_read:
        ids = (f"{casts[name]} = r.{quote(name)}" for name in staged.plan.spec.id_columns)
        source += f" LEFT JOIN {table_of(staged.plan.key)} r ON {' AND '.join(ids)}"
        fields = dict(_since_read(staged, casts))
    provenance = struct_of({str(key): sql for key, sql in fields.items()})
    if staged.delta is None and staged.as_stored and not was_read:
        provenance = given
    whole = quote(c.COL_PROVENANCE)
    if staged.delta is None:
        whole = f"{sample_provenance(fields, values, hashed=staged.hashed)} AS {whole}"
    # Without versions of the user's own, the data is known by what it was computed from.
    version, own = f"NULL::{struct_type(map(str, fields))}", "NULL::VARCHAR"
    if given_versions := _data_versions(staged, fields):
        version = struct_of({str(key): sql for key, sql in given_versions.items()})
        own = sample_provenance(given_versions, values)
    _check_stamps(connection, staged)
    found = connection.execute(
        f"CREATE OR REPLACE TEMP {'VIEW' if once else 'TABLE'} {STAGE} AS SELECT {user},"
        f" {provenance} AS {quote(c.COL_PROVENANCE_BY_FIELD)},"
        f" {version} AS {quote(c.COL_DATA_VERSION_BY_FIELD)},"
        f" {whole}, {own} AS {quote(c.COL_DATA_VERSION)},"
        f" {values.bind(staged.feature_version)}::VARCHAR AS {quote(c.COL_FEATURE_VERSION)}"
        f" FROM {source}",
        values,
    ).fetchall()
    if not once:
        check_asked_for(connection, staged, int(found[0][0]))


def _since_read(staged: Staged, casts: Mapping[str, str]) -> Iterator[tuple[FieldKey, str]]:
    """The provenance of a root's rows that were read: their content, where that was changed.

    A row that still has the provenance under which it is stored, beside other values, would hide
    the change from everything downstream.
    """
    ids = {fold(name) for name in staged.plan.spec.id_columns}
    for field in staged.plan.spec.fields:
        names = [name for name in casts if fold(name) not in ids]
        names = names if field.columns is None else list(field.columns)
        entry = f"{quote(c.COL_PROVENANCE_BY_FIELD)}.{quote(str(field.key))}"
        other = " OR ".join(f"{casts[n]} IS DISTINCT FROM r.{quote(n)}" for n in names) or "FALSE"
        content = f"i.{COL_CONTENT}.{quote(str(field.key))}"
        sql = f"CASE WHEN i.{entry} = r.{entry} AND ({other}) THEN {content} ELSE i.{entry} END"
        yield field.key, sql


def unstage(connection: duckdb.DuckDBPyConnection, *, once: bool) -> None:
    """Let go of the rows; a transaction that is undone does so by itself.

    Args:
        connection: on which a frame was staged.
        once: as for :func:`stage`.
    """
    connection.execute(f"DROP {'VIEW' if once else 'TABLE'} IF EXISTS {STAGE}")


def _data_versions(staged: Staged, provenance: Mapping[FieldKey, str]) -> dict[FieldKey, str]:
    """The user's data versions; a field without one follows its provenance.

    Those of the frame come first, then those of the samples that an increment was asked for.
    """
    name = c.COL_DATA_VERSION_BY_FIELD
    given = [f"i.{quote(name)}"] if name in staged.table.schema.names else []
    if staged.delta is not None and name in staged.delta.schema.names:
        given.append(f"d.{quote(name)}")
    if not given:
        return {}
    return {
        key: f"coalesce({', '.join(f'{one}.{quote(str(key))}::VARCHAR' for one in given)}, {sql})"
        for key, sql in provenance.items()
    }


def _check_stamps(connection: duckdb.DuckDBPyConnection, staged: Staged) -> None:
    """Refuse rows that were computed from something else than the increment asked for.

    Raises:
        FrameError: rows bring a provenance of their own, and it is another one.
    """
    name = c.COL_PROVENANCE_BY_FIELD
    if staged.delta is None or name not in staged.table.schema.names:
        return
    # Rows of other features that came along have none.
    other = " OR ".join(
        f"i.{one} IS DISTINCT FROM d.{one}"
        for one in (f"{quote(name)}.{quote(str(field.key))}" for field in staged.plan.fields)
    )
    names = columns(staged.sample_columns)
    found = connection.execute(
        f"SELECT {columns(staged.sample_columns, 'i')} FROM {_INPUT} i JOIN ({_LISTED}) d"
        f" USING ({names}) WHERE i.{quote(name)} IS NOT NULL AND ({other})"
    ).fetchall()
    if found:
        raise FrameError(
            "rows carry the provenance of something else than what the increment asks for",
            feature=str(staged.plan.key),
            found=f"{len(found)} rows, for example of the samples {found[:SHOWN]}",
            allowed="the provenance of the increment, or none",
            remedy="if they were computed from this increment, drop the metaxy_ columns that came "
            "along; if they answer another one, write them by its frame, without increment=",
        )


def check_asked_for(connection: duckdb.DuckDBPyConnection, staged: Staged, rows: int) -> None:
    """Refuse samples that the increment did not ask for.

    Args:
        connection: on which the frame was staged.
        staged: the frame.
        rows: of it that the increment knows.

    Raises:
        FrameError: with some of the samples concerned.
    """
    if staged.delta is None:
        return
    # Samples are listed once each: if all were found, none is a stranger.
    if rows == staged.table.num_rows:
        return
    names = columns(staged.sample_columns)
    strangers = connection.execute(
        f"SELECT {columns(staged.sample_columns, 'i')} FROM {_INPUT} i ANTI JOIN"
        f" ({_LISTED}) d USING ({names})"
    ).fetchall()
    if strangers:
        raise FrameError(
            "the frame has samples that the increment did not ask for",
            feature=str(staged.plan.key),
            found=f"{len(strangers)} samples, for example {strangers[:SHOWN]}",
            allowed=f"{staged.delta.num_rows} listed samples",
            remedy="return only ids that came in through the increment's frames",
        )
