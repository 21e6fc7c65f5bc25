"""Lazy frames that fail in the words of the store, whatever was done with them before."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import duckdb
import narwhals as nw
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreBusyError, StoreError
from metaxy_dagster.stores.duckdb.file.faults import out_of_memory
from metaxy_dagster.stores.frames.lazy import told
from metaxy_dagster.stores.frames.loading import to_pandas, to_polars
from metaxy_dagster.stores.frames.logical import Logical, restore

__all__ = ["StoreFrame", "Told", "only_zone"]

_ARROW: Final = (None, "pyarrow", pa)
_MOMENTS: Final = {c.COL_CREATED_AT, c.COL_UPDATED_AT, c.COL_DELETED_AT}
_ZONED: Final = {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}
_KINDS: Final = {kind.__name__: kind for kind in (StoreError, StoreBusyError)}
_OURS: Final = re.compile(rf"\b({'|'.join(_KINDS)}): (.*)", re.DOTALL)
# With DuckDB 1.5 the text goes on with where in our code it was raised.
_PLACE: Final = re.compile(r"\n\s*\nAt:\n.*", re.DOTALL)
# Where rows are put that memory does not hold.
_FULL: Final = re.compile(r"Out of Memory|No space left|File too large")
_PART: Final = re.compile(r"^  (found|allowed|to fix): ", re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What is known of a frame's columns beside their DuckDB types.

    Attributes:
        logical: what they were before they were stored, by name.
        zone: in which local times are computed, where that is not UTC.
    """

    logical: Mapping[str, Logical] = field(default_factory=dict)
    zone: str | None = None
    # Makes a relation of Arrow rows beside that of the frame.
    home: Callable[[pa.Table], duckdb.DuckDBPyRelation] | None = None


def only_zone(logical: Mapping[str, Logical], kinds: Mapping[str, str]) -> str | None:
    """The zone of all zoned columns, if it is one, and not UTC.

    Args:
        logical: what columns were; nothing of those that are in UTC.
        kinds: DuckDB types of the columns.
    """
    types = (one.type for one in logical.values())
    zones = {kind.tz for kind in types if pa.types.is_timestamp(kind) and kind.tz is not None}
    plain = kinds.keys() - logical.keys() - _MOMENTS
    zones |= {"UTC" for name in plain if kinds[name] in _ZONED}
    (zone,) = zones if len(zones) == 1 else (None,)
    return None if zone == "UTC" else zone


class StoreFrame(nw.LazyFrame[Any]):
    """A lazy frame whose reading may fail, and then raises what the store raised.

    Narwhals makes a frame of the same class of all that is done with one.
    """

    # The rows, if they are in memory and nothing was done with the frame yet.
    _rows: Callable[[], pa.Table] | None = None
    told_columns = Told()

    @classmethod
    def of(
        cls,
        relation: duckdb.DuckDBPyRelation,
        told: Told | None = None,
        rows: Callable[[], pa.Table] | None = None,
    ) -> StoreFrame:
        """A lazy frame over a relation.

        Args:
            relation: what is read when the frame is collected.
            told: what is known of its columns.
            rows: gives the same rows in Arrow, if they are there anyway; saves a copy of them.
        """
        frame: nw.LazyFrame[Any] = nw.from_native(relation)
        made = cls(frame._compliant_frame, level="lazy")  # noqa: SLF001 - no public way
        made._rows = rows
        made.told_columns = told or Told()
        return made

    def _with_compliant(self, df: Any) -> Self:
        made = super()._with_compliant(df)
        made.told_columns = self.told_columns
        return made

    def join(self, other: Any, *args: Any, **kwargs: Any) -> Self:
        """As of every lazy frame; frames of other zones may be joined too."""
        return super().join(self._beside(other), *args, **kwargs)

    def join_asof(self, other: Any, *args: Any, **kwargs: Any) -> Self:
        """As of every lazy frame; frames of other zones may be joined too."""
        return super().join_asof(self._beside(other), *args, **kwargs)

    def _beside(self, other: Any) -> Any:
        """A frame of another zone, read: one connection computes in one zone."""
        if not isinstance(other, StoreFrame):
            return other
        self.told_columns = replace(
            self.told_columns, logical={**other.told_columns.logical, **self.told_columns.logical}
        )
        if other.told_columns.zone == self.told_columns.zone:
            return other
        if self.told_columns.home is None:
            return other
        rows = other.collect("pyarrow").to_native()
        return StoreFrame.of(self.told_columns.home(rows), other.told_columns)

    def collect(self, backend: Any = None, **kwargs: Any) -> nw.DataFrame[Any]:
        """As of every lazy frame.

        Raises:
            StoreError: the store cannot be read now.
        """
        if self._rows is not None and not kwargs and backend in _ARROW:
            return nw.from_native(self._rows(), eager_only=True)
        with _ours():
            rows = self._restored(super().collect("pyarrow").to_native())
            if backend in _ARROW:
                return nw.from_native(rows, eager_only=True)
            name = nw.Implementation.from_backend(backend)
            if name.is_polars():
                return nw.from_native(to_polars(rows), eager_only=True)
            if name.is_pandas():
                return nw.from_native(to_pandas(rows), eager_only=True)
            return super().collect(backend, **kwargs)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows, about so many at a time; one batch without rows first.

        Raises:
            StoreError: the store cannot be read now.
        """
        with _ours():
            found = self.to_native().to_arrow_reader(rows)
            for batch in told(self.to_native(), found):
                if batch.num_rows:
                    restored = self._restored(pa.Table.from_batches([batch]))
                    yield from restored.combine_chunks().to_batches()
                else:
                    yield batch

    def _restored(self, rows: pa.Table) -> pa.Table:
        """Columns that still have their names, as what they were."""
        logical = {
            field.name: self.told_columns.logical[field.name]
            for field in rows.schema
            if field.name in self.told_columns.logical
            and self.told_columns.logical[field.name].target(field.type) is not None
        }
        rows = restore(rows, logical)
        moments = [
            name for name in rows.column_names if name in _MOMENTS and self.told_columns.zone
        ]
        for name in moments:
            index = rows.column_names.index(name)
            rows = rows.set_column(index, name, rows.column(name).cast(pa.timestamp("us", "UTC")))
        return rows


def _repeated(kind: str, text: str) -> StoreError:
    """An error of the store from its text, which is all that DuckDB keeps of it.

    DuckDB may ask for the rows in a thread of its own, so it cannot be remembered on the way.
    """
    problem, *rest = _PART.split(_PLACE.sub("", text))
    parts = dict(zip(rest[::2], (one.rstrip("\n") for one in rest[1::2]), strict=True))
    return _KINDS[kind](
        problem.rstrip("\n"),
        found=parts.get("found"),
        allowed=parts.get("allowed"),
        remedy=parts.get("to fix"),
    )


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """What the store raised while it was read, and memory and disks that are full, in our words.

    Faults of what was done with the frame stay what they are.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, MemoryError) as error:
        if match := _OURS.search(str(error)):
            raise _repeated(*match.groups()) from error
        if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or _FULL.search(str(error)):
            raise out_of_memory(error) from error
        raise
