"""A checked frame, ready for a transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.resolve.views import sample_columns
from metaxy_dagster.stores.frames.logical import Logical
from metaxy_dagster.stores.frames.spool import Spool, SpooledColumns

__all__ = ["COL_CONTENT", "STAGE", "Staged"]

STAGE = "metaxy_stage"
# What the content of rows is that were read, and may have been changed since.
COL_CONTENT = "metaxy_content"


@dataclass(frozen=True)
class Staged:
    """A checked frame, ready for a transaction.

    Attributes:
        plan: the feature.
        table: its user columns, and ``metaxy_provenance_by_field`` unless ``delta`` brings it;
            in memory, or in a file where it was collected batch by batch.
        types: the user's columns and the DuckDB types in which they arrive.
        delta: provenance by sample, from an increment.
        sample_columns: the columns on which ``delta`` is joined.
        hashed: whether all provenance is of a hash's length.
        as_stored: whether the provenance struct is as it is stored.
        by_content: whether provenance is the content of the columns.
        logicals: what columns were before they came into Arrow types that DuckDB knows.
    """

    plan: FeaturePlan
    feature_version: str
    table: pa.Table | Spool
    types: Mapping[str, str]
    delta: pa.Table | SpooledColumns | None
    sample_columns: tuple[str, ...]
    hashed: bool = False
    as_stored: bool = False
    by_content: bool = False
    logicals: Mapping[str, Logical] = field(default_factory=dict)

    def of_known(self, stored: Collection[str]) -> Staged:
        """The same frame; without rows, it has no columns but those that are stored already."""
        if self.table.num_rows:
            return self
        known = {fold(name) for name in stored}
        types = {name: kind for name, kind in self.types.items() if fold(name) in known}
        return replace(self, types=types)

    @property
    def was_read(self) -> bool:
        """Whether these are rows that were read, and are to be compared with what is stored."""
        return COL_CONTENT in self.table.schema.names

    @property
    def is_nothing(self) -> bool:
        """Whether an increment was answered by no rows, of whatever columns."""
        return self.delta is not None and not self.table.num_rows

    def parts(self, column: str) -> Iterator[pa.Table]:
        """One column, as many rows at a time as fit into memory."""
        if isinstance(self.table, Spool):
            return self.table.parts([column])
        return iter([self.table.select([column])])

    @property
    def user_columns(self) -> tuple[str, ...]:
        """The columns that belong to the user."""
        return tuple(self.types)

    @property
    def parent_columns(self) -> tuple[str, ...]:
        """In an expansion, the columns that name the parent of a row; else none."""
        if all(dep.lineage_type != "expansion" for dep in self.plan.deps):
            return ()
        return sample_columns(self.plan)
