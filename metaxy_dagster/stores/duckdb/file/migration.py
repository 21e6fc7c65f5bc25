"""Files of older releases on their way to the layout of this one: a step a version, in order.

All steps run in one transaction, so a file is of the one format or of the other. Formats and what
each step does are listed in ``docs/store-format.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.stores.duckdb.sql.identifiers import CATALOG, quote, table_name

__all__ = ["STEPS", "Step", "migrate"]

# Brings the file that is attached from one format to the next; runs inside a transaction.
Step = Callable[[duckdb.DuckDBPyConnection], None]


def migrate(connection: duckdb.DuckDBPyConnection, found: int, target: int) -> None:
    """Bring a file from format ``found`` to format ``target``, or leave it as it is.

    Args:
        connection: to the file, outside any transaction.
        found: the format of the file.
        target: the format of this release.

    Raises:
        StoreError: the file is open for reading alone, or there is no way from its format.
    """
    wanted = range(found, target)
    if not all(version in STEPS for version in wanted):
        raise StoreError(
            "the metadata store is of a format that this release cannot bring up to date",
            found=f"store format {found}",
            allowed=f"store format {target}, or one of {sorted(STEPS)}",
            remedy="write it with a release that still knows this format, then upgrade again",
        )
    if _reads_only(connection):
        raise StoreError(
            "the metadata store was written by an older release of metaxy-dagster",
            found=f"store format {found}",
            allowed=f"store format {target}",
            remedy='open it once for writing, which brings it up to date: with store.open("w"): '
            "pass; older releases cannot read it then",
        )
    connection.execute("BEGIN TRANSACTION")
    for version in wanted:
        STEPS[version](connection)
    connection.execute(f"UPDATE {CATALOG}.metaxy.format SET version = ?", [target])
    connection.execute("COMMIT")


def _reads_only(connection: duckdb.DuckDBPyConnection) -> bool:
    rows = connection.execute(
        "SELECT readonly FROM duckdb_databases() WHERE database_name = ?", [CATALOG]
    ).fetchall()
    return bool(rows[0][0])


def _drop_upstream_versions(connection: duckdb.DuckDBPyConnection) -> None:
    """Format 2 keeps no upstream versions beside the provenance; watermarks are found anew."""
    dropped = "metaxy_upstream"
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_columns()"
        " WHERE database_name = ? AND schema_name IN ('main', 'history') AND column_name = ?",
        [CATALOG, dropped],
    ).fetchall()
    for schema, name in tables:
        table = f"{CATALOG}.{quote(schema)}.{quote(name)}"
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {quote(dropped)}")
    _forget_lists(connection)
    connection.execute(f"DELETE FROM {CATALOG}.metaxy.watermarks")


def _forget_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """For steps after which the first resolve had better look at everything."""
    tables = connection.execute(
        "SELECT table_name FROM duckdb_tables()"
        " WHERE database_name = ? AND schema_name = 'pending'",
        [CATALOG],
    ).fetchall()
    for (name,) in tables:
        connection.execute(f"DROP TABLE {CATALOG}.pending.{quote(name)}")


def _gather_entries(connection: duckdb.DuckDBPyConnection) -> None:
    """Format 3 has one row of all that is known of a feature; watermarks are found anew."""
    metaxy = f"{CATALOG}.metaxy"
    _forget_lists(connection)
    connection.execute(f"DROP TABLE {metaxy}.watermarks")
    connection.execute(f"ALTER TABLE {metaxy}.features RENAME TO features_before")
    connection.execute(
        f"CREATE TABLE {metaxy}.features (feature VARCHAR NOT NULL, table_name VARCHAR NOT NULL,"
        " feature_version VARCHAR, spec VARCHAR, stored BOOLEAN NOT NULL, failed BOOLEAN NOT NULL,"
        " newest BIGINT NOT NULL, ended BIGINT NOT NULL, erased BIGINT NOT NULL,"
        " emptied BIGINT NOT NULL,"
        " fingerprint VARCHAR, upstream_commit BIGINT, own_commit BIGINT, pending BIGINT,"
        " content_rows BIGINT, content_low HUGEINT, content_high HUGEINT)"
    )
    failed = {
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM duckdb_tables()"
            " WHERE database_name = ? AND schema_name = 'quarantine'",
            [CATALOG],
        ).fetchall()
    }
    rows = connection.execute(
        "SELECT feature, any_value(b.feature_version), any_value(b.spec),"
        " bool_or(b.feature IS NOT NULL), coalesce(max(c.commit), 0),"
        " coalesce(max(c.commit) FILTER (c.updated > 0 OR c.deleted > 0), 0),"
        " coalesce(max(c.commit) FILTER (c.kind NOT IN ('write', 'delete')), 0)"
        f" FROM {metaxy}.features_before b FULL JOIN {metaxy}.commits c USING (feature)"
        " GROUP BY feature"
    ).fetchall()
    names = {table_name(FeatureKey(row[0])) for row in rows}
    # Failures may have come before the first write; a plain name tells its feature.
    early = [name.replace("__", "/") for name in failed - names if "~" not in name]
    rows += [(feature, None, None, False, 0, 0, 0) for feature in early]
    for feature, version, spec, stored, *commits in rows:
        name = table_name(FeatureKey(feature))
        connection.execute(
            f"INSERT INTO {metaxy}.features VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, NULL, NULL,"
            " NULL, NULL, NULL, NULL)",
            [feature, name, version, spec, stored, name in failed, *commits],
        )
    connection.execute(f"DROP TABLE {metaxy}.features_before")


def _give_tokens(connection: duckdb.DuckDBPyConnection) -> None:
    """Format 4 knows commits by a token too (copies of one file get the same), and has less tables.

    Watermarks of format 3 may have passed over samples that were erased during a run.
    """
    metaxy = f"{CATALOG}.metaxy"
    _forget_lists(connection)
    # Before any row changes: DuckDB 1.5 cannot alter a table later in the same transaction. Of what
    # columns were before they were stored, nothing is known.
    added = ("token BIGINT", "types VARCHAR", "had VARCHAR", "archived BIGINT DEFAULT 0")
    for column in added:
        connection.execute(f"ALTER TABLE {metaxy}.features ADD COLUMN {column}")
    connection.execute(
        f"UPDATE {metaxy}.features SET fingerprint = NULL, upstream_commit = NULL,"
        " own_commit = NULL, pending = NULL"
    )
    made = "md5_number_lower(concat_ws(':', commit, epoch_us(committed_at)))"
    connection.execute(f"ALTER TABLE {metaxy}.commits ADD COLUMN token BIGINT")
    connection.execute(f"UPDATE {metaxy}.commits SET token = ({made} >> 1)::BIGINT")
    connection.execute(
        f"UPDATE {metaxy}.features f SET token = c.token"
        f" FROM (SELECT DISTINCT commit, token FROM {metaxy}.commits) c WHERE c.commit = f.newest"
    )
    _drop_empty_histories(connection)


def _drop_empty_histories(connection: duckdb.DuckDBPyConnection) -> None:
    """Features whose rows never ended have no history table in format 4."""
    features = f"{CATALOG}.metaxy.features"
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables()"
        " WHERE database_name = ? AND schema_name = 'history'",
        [CATALOG],
    ).fetchall()
    for (name,) in rows:
        table = f"{CATALOG}.history.{quote(name)}"
        ((ended,),) = connection.execute(f"SELECT max(metaxy_ended) FROM {table}").fetchall()
        if ended is None:
            connection.execute(f"DROP TABLE {table}")
            continue
        connection.execute(
            f"UPDATE {features} SET archived = ? WHERE table_name = ?", [ended, name]
        )


STEPS: Mapping[int, Step] = {1: _drop_upstream_versions, 2: _gather_entries, 3: _give_tokens}
