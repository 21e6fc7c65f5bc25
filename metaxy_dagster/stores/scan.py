"""Rows as of one commit, read when they are asked for, and as often as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Scan"]


class Scan(Protocol):
    """Rows of a store that an engine asks for when it collects a frame.

    The store is held while rows are brought out of it, and not while they are used.
    """

    @property
    def schema(self) -> pa.Schema:
        """Names and types, known without reading."""
        ...

    def batches(
        self, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read some columns, at least one, of at most so many rows."""
        ...
