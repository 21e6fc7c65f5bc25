"""What is done to a file as a whole, now and then: other types, other ids, less history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.features import FeatureKey, FeaturePlan, FeatureSpec
from metaxy_dagster.stores.compaction_result import CompactionResult
from metaxy_dagster.stores.duckdb.compact import compaction
from metaxy_dagster.stores.duckdb.file.catalog import read_catalog
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.write import altering, rekeying
from metaxy_dagster.stores.id_migration import IdMigration
from metaxy_dagster.stores.results import AlterResult

__all__ = ["Upkeep"]


class Upkeep:
    """The upkeep of a store in one file; the arguments are those of the store's methods."""

    def __init__(self, file: DuckDBFile) -> None:
        self._file = file

    def alter(self, spec: FeatureSpec, columns: Mapping[str, Any], *, dry_run: bool) -> AlterResult:
        """Change the types of stored columns."""
        with self._file.connect("w") as connection:
            known = read_catalog(connection, [spec.key])
            return altering.alter(connection, spec, known, columns, dry_run=dry_run)

    def migrate_ids(
        self,
        plan: FeaturePlan,
        downstream: tuple[FeatureKey, ...],
        *,
        rename: Mapping[str, str],
        fill: Mapping[str, object],
        types: Mapping[str, str],
        drop: Sequence[str],
        keep: Literal["newest", "oldest", "none"] | None,
        dry_run: bool,
    ) -> IdMigration:
        """Bring a feature to the ids that it is declared with now."""
        wanted = rekeying.Wanted(plan, dict(rename), dict(fill), dict(types), tuple(drop), keep)
        wanted.check()
        return rekeying.migrate(self._file, wanted, downstream, dry_run=dry_run)

    def compact(
        self,
        *,
        older_than: dt.timedelta,
        before: int | None,
        keep_versions: int,
        rewrite: bool,
        dry_run: bool,
    ) -> CompactionResult:
        """Remove history that is not needed any more."""
        _check(older_than, before, keep_versions)
        return compaction.compact(
            self._file,
            older_than=older_than,
            before=before,
            keep_versions=keep_versions,
            rewrite=rewrite,
            dry_run=dry_run,
        )


def _check(older_than: object, before: object, keep_versions: object) -> None:
    if not isinstance(older_than, dt.timedelta) or older_than < dt.timedelta():
        raise StoreError(
            "older_than is not a span of time",
            found=shown(older_than),
            allowed="a timedelta of zero or more",
            remedy="give for instance datetime.timedelta(days=7)",
        )
    numbers = {"keep_versions": keep_versions, "before": 0 if before is None else before}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise StoreError(
                f"{name} is not a number",
                found=shown(number),
                allowed="a whole number, 0 or more",
                remedy=f"correct {name}, or leave it out",
            )
