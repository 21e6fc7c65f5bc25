"""Columns on their way to a store: in a type that it takes, with a note of what they were."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from metaxy_dagster.errors import FrameError
from metaxy_dagster.late import pandas as pd
from metaxy_dagster.stores.frames import arrays, logical

__all__ = ["KIND", "Note", "logicals_of", "note", "pandas_hints", "with_uuids"]

# In the metadata of a field: what it was, and the engine's own type if it came from there.
_WAS = b"metaxy:was"
KIND = b"metaxy:kind"
# Objects in a pandas column that Arrow would give back as something else.
_OF_PYTHON = (list, tuple, dt.datetime, dt.timedelta)


class Note:
    """How the columns of one frame come into a store's types; made of its first rows.

    Attributes:
        schema: of the columns, with the notes.
    """

    def __init__(
        self,
        rows: pa.Table,
        feature: str,
        *,
        exact: bool = False,
        pandas: Mapping[str, str] | None = None,
    ) -> None:
        self._feature = feature
        hints = pandas or {}
        fields = [
            self._field(column, had, hints.get(had.name), exact=exact)
            for had, column in zip(rows.schema, rows.columns, strict=True)
        ]
        self.schema = pa.schema(fields)
        self._is_plain = all(
            had.type == field.type and not pa.types.is_duration(had.type)
            for had, field in zip(rows.schema, fields, strict=True)
        )

    def _field(
        self, column: pa.ChunkedArray, had: pa.Field, hint: str | None, *, exact: bool
    ) -> pa.Field:
        kind = arrays.in_order(had)
        if _WAS in (had.metadata or {}):
            # A run looks at what it writes before the store does.
            return had
        if arrays.has_union(kind):
            raise FrameError(
                f"column {had.name!r} has a type that cannot be stored",
                feature=self._feature,
                found=str(kind),
                remedy="store its members as columns, or the values as text",
            )
        told = kind if exact else arrays.plain(kind)
        if isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("pandas."):
            told = kind.storage_type
        if (had.metadata or {}).get(KIND) == b"UUID":
            told = pa.uuid()
        metadata = {name: text for name, text in (had.metadata or {}).items() if name != KIND}
        values = {}
        if column.num_chunks and (hint is not None or metadata or _has_order(kind)):
            values = arrays.dictionaries(column.chunk(0))
        found = logical.Logical(
            pa.field("x", told, metadata=metadata or None), values, None if hint == "" else hint
        )
        notes = {}
        if not found.says_nothing:
            notes[_WAS] = (logical.to_text({"x": found}) or "").encode()
        if KIND in (had.metadata or {}):
            notes[KIND] = had.metadata[KIND]
        return pa.field(had.name, arrays.physical(kind), metadata=notes or None)

    def of(self, rows: pa.Table) -> pa.Table:
        """Some rows, noted.

        Raises:
            FrameError: values that cannot be kept.
        """
        if self._is_plain:
            return pa.Table.from_arrays(rows.columns, schema=self.schema)
        columns = [
            self._column(column, field)
            for column, field in zip(rows.columns, self.schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _column(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        if column.type == field.type and not pa.types.is_duration(column.type):
            return column
        try:
            arrays.check_durations(column)
            decoded = [arrays.decoded(chunk).cast(field.type) for chunk in column.chunks]
        except (ValueError, pa.ArrowException) as error:
            raise FrameError(
                f"column {field.name!r} holds values that cannot be kept",
                feature=self._feature,
                found=f"{column.type}: {error}",
                allowed="what fits into microseconds, 38 decimal digits and plain values",
                remedy=f"round {field.name!r}, or cast it to a plain type before it is written",
            ) from error
        return pa.chunked_array(decoded, field.type)


def _has_order(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) and kind.ordered)


def note(rows: pa.Table, feature: str, **how: Any) -> pa.Table:
    """Rows that are all there, noted."""
    return Note(rows, feature, **how).of(rows)


def logicals_of(schema: pa.Schema) -> dict[str, logical.Logical]:
    """The notes of a schema, by column."""
    found = {field.name: (field.metadata or {}).get(_WAS) for field in schema}
    return {name: logical.of_text(one.decode())["x"] for name, one in found.items() if one}


def pandas_hints(frame: Any) -> dict[str, str]:
    """What Arrow's types do not tell of a pandas frame's; empty text for categories."""
    found: dict[str, str] = {}
    for name, dtype in frame.dtypes.items():
        kind = str(dtype)
        if kind == "object":
            found |= _of_objects(name, frame[name])
        elif isinstance(dtype, pd.CategoricalDtype):
            if isinstance(dtype.categories.dtype, pd.IntervalDtype | pd.PeriodDtype):
                raise FrameError(
                    f"column {name!r} has categories that cannot be kept",
                    found=str(dtype.categories.dtype),
                    allowed="categories of text, numbers or moments",
                    remedy=f"store what they are: frame[{name!r}].astype("
                    f"frame[{name!r}].cat.categories.dtype), or .astype(str)",
                )
            found[name] = ""
        elif isinstance(dtype, pd.api.extensions.ExtensionDtype) and kind != "str":
            found |= {} if isinstance(dtype, pd.DatetimeTZDtype) else {name: kind}
    return found


def with_uuids(frame: Any) -> Any:
    """A pandas frame whose UUIDs Arrow takes; up to PyArrow 22 it does not know those of Python."""
    found = {}
    for name, dtype in frame.dtypes.items():
        if str(dtype) == "object" and isinstance(_first(frame[name]), uuid.UUID):
            values = [one.bytes if isinstance(one, uuid.UUID) else one for one in frame[name]]
            storage = pa.array(values, pa.binary(16), from_pandas=True)
            array = pa.ExtensionArray.from_storage(pa.uuid(), storage)
            found[name] = pd.arrays.ArrowExtensionArray(pa.chunked_array([array]))
    return frame.assign(**found) if found else frame


def _first(column: Any) -> Any:
    return next((one for one in column if one is not None), None)


def _of_objects(name: str, column: Any) -> dict[str, str]:
    first = _first(column)
    if isinstance(first, str):
        return {name: "object"}
    return {name: "list"} if isinstance(first, _OF_PYTHON) else {}
