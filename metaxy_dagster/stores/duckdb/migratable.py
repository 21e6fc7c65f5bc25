"""The side of a store that follows a feature whose ids are declared anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from metaxy_dagster.features import CoercibleToFeatureKey
from metaxy_dagster.late import late_modules
from metaxy_dagster.stores.arguments import check_flags, check_mapping, column_names
from metaxy_dagster.stores.duckdb.compactable import CompactableStore
from metaxy_dagster.stores.id_migration import IdMigration

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.write import rekeying
else:
    (rekeying,) = late_modules(__package__, "write.rekeying")

__all__ = ["MigratableStore"]


class MigratableStore(CompactableStore):
    """A store in one file in which a feature may get other id columns."""

    def migrate_ids(
        self,
        feature: CoercibleToFeatureKey,
        *,
        rename: Mapping[str, str] | None = None,
        fill: Mapping[str, object] | None = None,
        types: Mapping[str, str] | None = None,
        drop: Sequence[str] = (),
        keep: Literal["newest", "oldest", "none"] | None = None,
        dry_run: bool = False,
    ) -> IdMigration:
        """Bring a stored feature to the id columns that it is declared with now.

        Samples that have ids of their own by the new columns are kept, with their provenance and
        history; columns that are no ids any more stay as columns. Increments and frames that were
        made before are void. All of it happens in one transaction, or nothing.

        Args:
            feature: key, spec or class.
            rename: id columns that are named otherwise now: stored name -> new name.
            fill: a constant for new id columns that are not stored, or where they are null.
            types: DuckDB types for id columns, such as ``{"id": "VARCHAR"}``.
            drop: stored id columns that are not needed any more.
            keep: which of the samples that share their new ids stays: the one written last
                (``"newest"``) or first (``"oldest"``), or ``"none"``, so that all of them are
                computed anew; the others are deleted, and stay in the history.
            dry_run: only tell what would be kept.

        Returns:
            What is kept, or would be.

        Raises:
            StoreError: new ids are missing, null or not unique, and nothing says what to do; or
                an argument is not valid.

        Example:
            >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> path = f"{tempfile.mkdtemp()}/m.duckdb"
            >>> def opened(*ids):
            ...     graph = mxd.FeatureGraph()
            ...     _ = graph.add(mxd.FeatureSpec("shot", id_columns=ids))
            ...     return mxd.DuckDBMetadataStore(path, graph=graph)
            >>> _ = opened("id", "camera").write("shot", pa.table({"id": [1, 1], "camera": [0, 1]}))
            >>> opened("id").migrate_ids("shot", dry_run=True).duplicates
            2
            >>> opened("id").migrate_ids("shot", keep="newest").kept
            1
        """
        key, plan = self._plan(feature)
        self._sessions.require_writable(key)
        check_flags(dry_run=dry_run)
        for name, given in {"rename": rename, "fill": fill, "types": types}.items():
            if given is not None:
                check_mapping(name, given)
        drop = column_names(drop) or ()
        wanted = rekeying.Wanted(
            plan, dict(rename or {}), dict(fill or {}), dict(types or {}), tuple(drop), keep
        )
        wanted.check()
        graph = self.graph
        downstream = tuple(one for one in graph if key in {dep.feature for dep in graph[one].deps})
        return rekeying.migrate(self._file, wanted, downstream, dry_run=dry_run)
