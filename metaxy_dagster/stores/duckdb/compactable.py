"""The side of a store that forgets what is no longer needed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.late import late_modules
from metaxy_dagster.stores.arguments import check_flags
from metaxy_dagster.stores.compaction_result import CompactionResult
from metaxy_dagster.stores.duckdb.failing import FailureStore

if TYPE_CHECKING:
    from metaxy_dagster.stores.duckdb.compact import compaction
else:
    (compaction,) = late_modules(__package__, "compact.compaction")

__all__ = ["CompactableStore"]

_WEEK = dt.timedelta(days=7)


class CompactableStore(FailureStore):
    """A store in one file that can forget what is no longer needed."""

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
        _check(older_than, before, keep_versions)
        check_flags(rewrite=rewrite, dry_run=dry_run)
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
