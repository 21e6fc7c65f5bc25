"""Which ids a feature is stored by: its definition may name others since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

import duckdb

from metaxy_dagster.errors import StoreError
from metaxy_dagster.features import FeatureKey, FeaturePlan, FeatureSpec
from metaxy_dagster.stores.duckdb.file.catalog import Catalog, read_catalog
from metaxy_dagster.stores.duckdb.file.entries import Entry

__all__ = ["check_ids", "check_upstream_ids", "checked_catalog", "stored_ids", "with_ids"]


def stored_ids(entry: Entry) -> tuple[str, ...] | None:
    """The id columns under which a feature was written; ``None`` if nothing is kept of it."""
    if entry.spec is None or not (entry.stored or entry.commits.emptied):
        return None
    return _ids_of(entry.spec)


@lru_cache(1024)
def _ids_of(spec: str) -> tuple[str, ...]:
    return tuple(json.loads(spec)["id_columns"])


def with_ids(spec: str, ids: Iterable[str]) -> str:
    """A stored definition, but for its id columns."""
    return json.dumps({**json.loads(spec), "id_columns": list(ids)})


def check_ids(catalog: Catalog, spec: FeatureSpec) -> None:
    """Refuse a feature that is stored by other id columns than it is declared with.

    In another order they are the same.

    Raises:
        StoreError: with the ways out.
    """
    found = _others(catalog, spec)
    if found is None:
        return
    raise StoreError(
        "the feature is stored by other id columns than it is declared with now",
        feature=str(spec.key),
        found=f"stored by id_columns {list(found)}",
        allowed=f"id_columns {list(spec.id_columns)}",
        remedy=_remedy(spec.key),
    )


def check_upstream_ids(catalog: Catalog, plan: FeaturePlan) -> None:
    """As :func:`check_ids`, of the feature and of all that it is computed from.

    Raises:
        StoreError: with the ways out.
    """
    check_ids(catalog, plan.spec)
    for dep in plan.deps:
        found = _others(catalog, dep.upstream)
        if found is not None:
            raise StoreError(
                f"upstream {str(dep.upstream.key)!r} is stored by other id columns than it is "
                "declared with now",
                feature=str(plan.key),
                found=f"stored by id_columns {list(found)}",
                allowed=f"id_columns {list(dep.upstream.id_columns)}",
                remedy=_remedy(dep.upstream.key),
            )


def checked_catalog(
    connection: duckdb.DuckDBPyConnection, plan: FeaturePlan, commit: int, *, tables: bool = True
) -> Catalog:
    """What the file holds of a feature and its upstreams, which are stored by the ids of now.

    Args:
        connection: not in a transaction: looking for a table that is not there would abort it.
        plan: the feature.
        commit: the state that will be read.
        tables: whether the tables are described too.

    Raises:
        StoreError: as of :func:`check_upstream_ids`.
    """
    keys = [plan.key, *(dep.upstream.key for dep in plan.deps)]
    wanted, beside = (keys, ()) if tables else ((), keys)
    catalog = read_catalog(connection, wanted, commit, beside=beside)
    check_upstream_ids(catalog, plan)
    return catalog


def _others(catalog: Catalog, spec: FeatureSpec) -> tuple[str, ...] | None:
    """The stored ids, if they are others than the declared ones."""
    found = stored_ids(catalog.entry(spec.key))
    # In another case they are other names to frames, though not to DuckDB.
    return None if found is None or set(found) == set(spec.id_columns) else found


def _remedy(key: FeatureKey) -> str:
    return (
        f"bring along what is stored: store.migrate_ids({str(key)!r}, dry_run=True) or "
        f"`metaxy-dagster migrate-ids {key} --dry-run` tell what can be kept; or declare the id "
        'columns as they were (metadata "metaxy/id_columns")'
    )
