"""What a column was before it was stored, so that it can be given back as that.

A store keeps a column in a type of its engine's. What that type does not tell (a time zone, the
categories in their order, the unit of a duration, a type of pandas') is noted beside it, as a
:class:`Logical`, and applied to what is read. Where nothing is to be told, nothing is noted.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from metaxy_dagster.stores.frames.arrays import enumerated, natural, restored

__all__ = ["Logical", "merged", "of_text", "restore", "restore_schema", "to_text"]

# In the metadata of a restored field, for those who make a frame of it.
PANDAS = b"metaxy:pandas"


@dataclass(frozen=True)
class Logical:
    """A column as it arrived.

    Attributes:
        field: its Arrow type, with what its library says of it.
        values: of categories, in order, by where they are within the type.
        pandas: its dtype, where pandas would take another one for the Arrow type.
    """

    field: pa.Field
    values: Mapping[str, pa.Array] = field(default_factory=dict)
    pandas: str | None = None

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return self.field.type

    def same(self, other: Logical) -> bool:
        """Whether both are the same in all."""
        return _encoded(self) == _encoded(other)

    @property
    def says_nothing(self) -> bool:
        """Whether the stored type tells all that there is."""
        return self.pandas is None and not self.field.metadata and natural(self.type) == self.type

    @property
    def order(self) -> list[str] | None:
        """The values of an ordered text column, in their order."""
        kind = self.type
        if pa.types.is_dictionary(kind) and kind.ordered and "" in self.values:
            values: list[str] = self.values[""].to_pylist()
            if values and all(isinstance(one, str) for one in values):
                return values
        return None

    def target(self, physical: pa.DataType) -> pa.DataType | None:
        """The type that a stored column is given back in; ``None`` if it changed too much."""
        return self.type if natural(self.type) == natural(physical) else None


def to_text(logicals: Mapping[str, Logical]) -> str | None:
    """All that is noted of a feature's columns, as text; ``None`` if that is nothing."""
    found = {name: _encoded(one) for name, one in logicals.items()}
    return json.dumps(found) if found else None


@functools.lru_cache(maxsize=256)
def of_text(text: str | None) -> Mapping[str, Logical]:
    """The reverse of :func:`to_text`."""
    return {} if text is None else {n: _decoded(one) for n, one in json.loads(text).items()}


def restore(table: pa.Table, logicals: Mapping[str, Logical]) -> pa.Table:
    """Give columns back as what they were.

    Args:
        table: N rows, as an engine gives them.
        logicals: of some of its columns.

    Example:
        >>> zoned = pa.field("at", pa.timestamp("ns", "Europe/Brussels"))
        >>> stored = pa.table({"at": pa.array([0], pa.timestamp("ns", "UTC"))})
        >>> str(restore(stored, {"at": Logical(zoned)}).schema.field("at").type)
        'timestamp[ns, tz=Europe/Brussels]'
    """
    for index, name in enumerate(table.column_names):
        logical = logicals.get(name)
        if logical is not None:
            column = restored(table.column(index), logical.type, logical.values)
            table = table.set_column(index, _field(name, logical, column), column)
    return table


def restore_schema(schema: pa.Schema, logicals: Mapping[str, Logical]) -> pa.Schema:
    """The columns of :func:`restore`, without a row."""
    return restore(schema.empty_table(), logicals).schema if logicals else schema


def _field(name: str, logical: Logical, column: pa.ChunkedArray) -> pa.Field:
    metadata = dict(logical.field.metadata or {})
    if logical.pandas is not None:
        metadata[PANDAS] = logical.pandas.encode()
    found = pa.field(name, column.type, metadata=metadata or None)
    return enumerated(found, column.chunk(0))


def merged(before: Logical | None, arrived: Logical, physical: pa.DataType) -> Logical | None:
    """What is noted of a column when a frame brings it as something else.

    The first word counts: a zone, a dtype. Units become the finer ones, categories are added
    behind those that are there.

    Args:
        before: what was noted; ``None`` for what the stored type tells.
        arrived: what the frame has.
        physical: what the engine gives from now on.
    """
    if before is None:
        return None
    kind = before.type
    longer, order = arrived.order, before.order
    if longer and order and len(longer) > len(order):
        # Two orders meet only where one has all of the other.
        before = Logical(arrived.field, arrived.values, before.pandas)
    elif pa.types.is_dictionary(kind) and "" in before.values:
        more = arrived.values.get("", before.values[""])
        values = _together(before.values[""], more)
        if values is None:
            return None
        before = Logical(before.field, {**before.values, "": values}, before.pandas)
    finer = _finer(kind, arrived.type)
    found = Logical(
        pa.field("x", finer, metadata=before.field.metadata), before.values, before.pandas
    )
    return found if found.target(physical) is not None else None


def _together(first: pa.Array, more: pa.Array) -> pa.Array | None:
    if first.type != more.type:
        return None
    known = set(first.to_pylist())
    added = [one for one in more.to_pylist() if one not in known]
    return pa.concat_arrays([first, pa.array(added, first.type)]) if added else first


_UNITS = ("s", "ms", "us", "ns")


def _finer(kind: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The first type, in the finer unit or the greater width of both."""
    types = pa.types
    for is_, made in (
        (types.is_timestamp, lambda unit: pa.timestamp(unit, kind.tz)),
        (types.is_duration, pa.duration),
    ):
        if is_(kind) and is_(other):
            return made(max(kind.unit, other.unit, key=_UNITS.index))
    if types.is_time(kind) and types.is_time(other):
        return max(kind, other, key=lambda one: _UNITS.index(one.unit))
    if types.is_floating(kind) and types.is_floating(other):
        return max(kind, other, key=lambda one: one.bit_width)
    if types.is_fixed_size_binary(kind) and kind != other:
        return pa.binary()
    return kind


def _encoded(logical: Logical) -> dict[str, Any]:
    schema = pa.schema([logical.field.with_name("x")])
    found: dict[str, Any] = {"arrow": _base64(schema.serialize().to_pybytes())}
    if logical.values:
        found["values"] = {path: _base64(_written(one)) for path, one in logical.values.items()}
    return found if logical.pandas is None else {**found, "pandas": logical.pandas}


def _decoded(found: Mapping[str, Any]) -> Logical:
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["arrow"])))
    values = {path: _read(base64.b64decode(one)) for path, one in found.get("values", {}).items()}
    return Logical(schema.field(0), values, found.get("pandas"))


def _written(values: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays([values], ["x"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _read(data: bytes) -> pa.Array:
    return pa.ipc.open_stream(data).read_all().column(0).combine_chunks()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
