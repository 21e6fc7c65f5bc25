"""One version for all samples of a feature, exact and independent of their order.

The sum of the rows' 128-bit hashes, each half for itself, beside their number: adding, removing or
changing a row moves it, writing the same rows again does not. Since it is a sum, a write can bring
it up to date from the rows that it changed, and nobody has to hash all others again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureSpec
from metaxy_dagster.stores.duckdb.file.catalog import Catalog, selection
from metaxy_dagster.stores.duckdb.file.entries import Content
from metaxy_dagster.stores.duckdb.file.layout import COL_COMMIT, COL_ENDED
from metaxy_dagster.stores.duckdb.read.query import Query
from metaxy_dagster.stores.duckdb.sql.identifiers import history_table, quote, table_of
from metaxy_dagster.stores.duckdb.sql.provenance import encoded, id_text
from metaxy_dagster.stores.frames.encoding import hash_parts

__all__ = ["content_of", "data_version", "known_content", "moved"]


def data_version(content: Content) -> str:
    """The version of a set of rows."""
    return hash_parts(map(str, (content.rows, content.low, content.high)))


def content_of(
    connection: duckdb.DuckDBPyConnection,
    spec: FeatureSpec,
    kinds: Mapping[str, Sequence[str]],
    rows: Query,
) -> Content:
    """Hash some rows.

    Args:
        connection: to the file.
        spec: the feature.
        kinds: the types that its ids have had.
        rows: gives at least ids and data versions.
    """
    ids = [encoded(id_text(quote(name), kinds[name])) for name in sorted(spec.id_columns)]
    row = " || ".join([*ids, encoded(quote(c.COL_DATA_VERSION))])
    (found,) = connection.execute(
        "SELECT count(*), coalesce(sum(md5_number_lower(h)::HUGEINT), 0),"
        " coalesce(sum(md5_number_upper(h)::HUGEINT), 0)"
        f" FROM (SELECT {row} AS h FROM ({rows.sql}))",
        dict(rows.values) or None,
    ).fetchall()
    return Content(*map(int, found))


def known_content(catalog: Catalog, spec: FeatureSpec) -> Content | None:
    """What was noted of a feature, if that is its state as of the catalog's commit."""
    entry = catalog.entry(spec.key)
    return entry.content if entry.commits.newest <= catalog.commit else None


def moved(
    connection: duckdb.DuckDBPyConnection,
    spec: FeatureSpec,
    kinds: Mapping[str, Sequence[str]],
    before: Content | None,
    commit: int,
    *,
    ended: bool,
) -> Content:
    """The content of a feature after a write, inside its transaction.

    Args:
        connection: the open transaction.
        spec: the feature.
        kinds: the types that its ids have had.
        before: what it held; ``None`` if that is not known, so that all rows must be hashed.
        commit: of the write.
        ended: whether the write superseded or deleted rows, which the history has now.
    """
    rows = f"SELECT {selection((*spec.id_columns, c.COL_DATA_VERSION))} FROM"
    if before is None:
        return content_of(connection, spec, kinds, Query(f"{rows} {table_of(spec.key)}"))
    begun = f"{rows} {table_of(spec.key)} WHERE {quote(COL_COMMIT)} = {commit}"
    content = before + content_of(connection, spec, kinds, Query(begun))
    if not ended:
        return content
    gone = f"{rows} {history_table(spec.key)} WHERE {quote(COL_ENDED)} = {commit}"
    return content - content_of(connection, spec, kinds, Query(gone))
