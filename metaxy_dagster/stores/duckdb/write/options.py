"""How a frame is written, beside the frame itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from metaxy_dagster.stores.duckdb.failures.answered import Answered
from metaxy_dagster.stores.duckdb.resolve.parts import AnsweredPart
from metaxy_dagster.stores.empties import EmptySamples

__all__ = ["Write"]


@dataclass(frozen=True)
class Write:
    """How a staged frame is to be applied.

    Attributes:
        replace: stored samples that the frame lacks are deleted.
        scope: a SQL condition, with its values: only these stored rows may be deleted.
        orphans: sample columns of stored rows to delete in the same transaction.
        failed: the same of samples that stay to be computed.
        max_deleted_share: refuse to delete more than this share of the stored rows.
        materialization_id: stored with each written row.
        answered: the increment that the write answers, to be noted in the watermark.
        part: the same, if it does not look at all samples.
        empty: samples of the increment that yielded nothing.
        versioned: note the data version, however many rows must be hashed for it.
        failing: the sample columns, where failures of the feature are noted: those that the write
            settles are forgotten with it.
    """

    replace: bool = False
    scope: str = "TRUE"
    scope_values: Mapping[str, object] | None = None
    orphans: pa.Table | None = None
    failed: pa.Table | None = None
    max_deleted_share: float | None = None
    materialization_id: str | None = None
    answered: Answered | None = None
    part: AnsweredPart | None = None
    empty: EmptySamples | None = None
    versioned: bool = False
    failing: tuple[str, ...] = ()

    @property
    def deletes(self) -> bool:
        """Whether stored rows may have to go even if no row is written."""
        return self.replace or bool(self.leaving) or self.empty is not None

    @property
    def leaving(self) -> list[pa.Table]:
        """The tables that name samples whose rows are to go."""
        return [one for one in (self.orphans, self.failed) if one is not None and one.num_rows]

    def forgets(self, deleted: int) -> bool:
        """Whether a watermark is void: upstreams may still call for what a replace deleted."""
        return self.replace and deleted > 0
