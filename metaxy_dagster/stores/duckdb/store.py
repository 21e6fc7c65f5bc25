"""The embedded metadata store: one DuckDB file, no server, no extension, no network."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metaxy_dagster.errors import ConfigError, shown
from metaxy_dagster.features import CoercibleToFeatureKey, FeatureGraph
from metaxy_dagster.stores.arguments import (
    check_flags,
    check_mapping,
    column_names,
    is_number,
    is_whole,
)
from metaxy_dagster.stores.compaction_result import CompactionResult
from metaxy_dagster.stores.id_migration import IdMigration
from metaxy_dagster.stores.paths import local_path
from metaxy_dagster.stores.protocol import MetadataStore
from metaxy_dagster.stores.results import AlterResult

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.engine import DuckDBEngine

__all__ = ["DuckDBMetadataStore"]

_WEEK = dt.timedelta(days=7)


class DuckDBMetadataStore(MetadataStore):
    """Samples and their provenance in one DuckDB file.

    Several processes of one machine may use the file at once: every call opens it under an
    operating-system lock, does its work and closes it. A frame that was read stays usable.

    Args:
        path: the file; made, with its directory, by the first write.
        graph: the features; by default the current :class:`FeatureGraph` at each call.
        lock_timeout: seconds to wait for other processes of ours.
        settings: DuckDB settings, such as ``{"memory_limit": "2GB", "threads": 2}``.
        max_incremental_share: up to this share of a feature's samples, resolving looks only at
            what changed since the last time; above it, and with 0 always, at everything.
        max_attempts: how often a sample may fail before increments leave it out; 0 for any number.

    Example:
        >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
        >>> graph = mxd.FeatureGraph()
        >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
        >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
        >>> with store.open("w"):
        ...     result = store.write("image", pa.table({"id": [1, 2], "path": ["a", "b"]}))
        >>> result.new, result.unchanged
        (2, 0)
        >>> with store:
        ...     frame = store.read("image", columns=["id", "path"])
        >>> frame.collect().to_native().to_pylist()
        [{'id': 1, 'path': 'a'}, {'id': 2, 'path': 'b'}]
    """

    _engine: DuckDBEngine

    def __init__(
        self,
        path: str | Path,
        *,
        graph: FeatureGraph | None = None,
        lock_timeout: float = 60.0,
        settings: Mapping[str, str | int | float | bool] | None = None,
        max_incremental_share: float = 0.3,
        max_attempts: int = 3,
    ) -> None:
        file = local_path(path)
        if not is_whole(max_attempts) or max_attempts < 0:
            raise ConfigError(
                "max_attempts is not a number of attempts",
                found=shown(max_attempts),
                allowed="1 or more; 0 for any number",
                remedy="say how often a sample may fail before increments leave it out",
            )
        if not is_number(max_incremental_share) or max_incremental_share < 0:
            raise ConfigError(
                "max_incremental_share is no share of a feature's samples",
                found=shown(max_incremental_share),
                allowed="0 or more; 0 to look at everything always",
                remedy="leave it out, or give for instance 0.3",
            )
        super().__init__(graph)
        # The door to DuckDB: a repository names this class in every process of Dagster, few of
        # which make a store. What stands behind it imports as usual.
        from metaxy_dagster.stores.duckdb.engine import DuckDBEngine  # noqa: PLC0415 - the door

        self._engine = DuckDBEngine(
            file,
            lock_timeout,
            {} if settings is None else settings,
            max_incremental_share=max_incremental_share,
            max_attempts=max_attempts,
        )

    def _options(self) -> dict[str, Any]:
        return {"graph": self._graph, **self._engine.options}

    @property
    def path(self) -> Path:
        """The file."""
        return self._engine.file.path

    @property
    def uri(self) -> str:
        """The file as a URI."""
        return self.path.as_uri()

    def display(self) -> str:
        """The store for people."""
        return f"DuckDBMetadataStore({str(self.path)!r})"

    __repr__ = display

    def alter(
        self,
        feature: CoercibleToFeatureKey,
        *,
        columns: Mapping[str, Any],
        dry_run: bool = False,
    ) -> AlterResult:
        """Change the types of stored columns, in the history as well.

        Provenance stays as it is, so nothing downstream is stale by it. Types widen by themselves
        where no value can be lost, and structs grow; this is for everything else.

        Args:
            feature: key, spec or class.
            columns: the new type of each, as text of DuckDB's (``"BIGINT"``) or as a pyarrow type.
            dry_run: tell what would happen, and change nothing.

        Returns:
            Types before and after, and how many values are other ones than before.

        Raises:
            StoreError: no such column or type, or values that the type cannot hold.

        Example:
            >>> import metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> graph = mxd.FeatureGraph()
            >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
            >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
            >>> _ = store.write("image", pa.table({"id": [1], "height": ["720"]}))
            >>> store.alter("image", columns={"height": "INTEGER"}).columns
            {'height': ('VARCHAR', 'INTEGER')}
        """
        _, plan = self._writable(feature)
        check_flags(dry_run=dry_run)
        check_mapping("columns", columns)
        return self._engine.upkeep.alter(plan.spec, columns, dry_run=dry_run)

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
        key, plan = self._writable(feature)
        check_flags(dry_run=dry_run)
        for name, given in {"rename": rename, "fill": fill, "types": types}.items():
            if given is not None:
                check_mapping(name, given)
        graph, drop = self.graph, column_names(drop) or ()
        downstream = tuple(one for one in graph if key in {dep.feature for dep in graph[one].deps})
        return self._engine.upkeep.migrate_ids(
            plan,
            downstream,
            rename=rename or {},
            fill=fill or {},
            types=types or {},
            drop=drop,
            keep=keep,
            dry_run=dry_run,
        )

    def compact(
        self,
        *,
        older_than: dt.timedelta = _WEEK,
        before: int | None = None,
        keep_versions: int = 0,
        rewrite: bool = True,
        dry_run: bool = False,
    ) -> CompactionResult:
        """Remove rows of history that are no longer needed, and give their space back.

        Frames and increments that were made before stay right as long as they are of the horizon
        or later; older ones raise a :class:`StoreError` when they are collected. The next resolve
        of a feature whose history (or whose upstreams' history) shrank looks at everything once.
        Other processes wait meanwhile, as they do for a write.

        Args:
            older_than: keep whatever was valid within this time; zero keeps only what is stored
                now. Commits that are pinned are kept as well.
            before: remove only what ended at this commit or before.
            keep_versions: of each sample, keep as many superseded or deleted rows in any case.
            rewrite: write the file anew, which needs room for both meanwhile; otherwise the space
                of removed rows is used again by later writes, and the file stays as large.
            dry_run: only tell what would be removed.

        Returns:
            What was removed and what is left.

        Raises:
            StoreError: an argument is not valid, or the store cannot be written. Where rows were
                removed and only their space cannot be given back, that is a warning in the log.

        Example:
            >>> import datetime as dt, metaxy_dagster as mxd, tempfile, pyarrow as pa
            >>> graph = mxd.FeatureGraph()
            >>> _ = graph.add(mxd.FeatureSpec("image", id_columns=["id"]))
            >>> store = mxd.DuckDBMetadataStore(f"{tempfile.mkdtemp()}/m.duckdb", graph=graph)
            >>> for path in "abc":
            ...     _ = store.write("image", pa.table({"id": [1], "path": [path]}))
            >>> store.compact().rows_removed
            0
            >>> store.compact(older_than=dt.timedelta()).rows_removed
            2
        """
        check_flags(rewrite=rewrite, dry_run=dry_run)
        return self._engine.upkeep.compact(
            older_than=older_than,
            before=before,
            keep_versions=keep_versions,
            rewrite=rewrite,
            dry_run=dry_run,
        )
