"""Comparing many rows with many, a part of them at a time, so that memory holds a part alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import duckdb

from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.widening import INTEGERS
from metaxy_dagster.stores.duckdb.write.staged import STAGE

__all__ = ["passes"]

# A pass reads all rows of which it cannot tell by their ids that they belong to another.
_ROWS = 125_000
# Of each part, so many ids are looked at to tell where it ends.
_SEEN = 50
_ORDERED = {*INTEGERS, "VARCHAR"}


def passes(
    connection: duckdb.DuckDBPyConnection, rows: int, names: Sequence[str], types: Mapping[str, str]
) -> list[tuple[str, dict[str, object]]]:
    """Conditions on the ids of staged and stored rows; each row is in exactly one part.

    Args:
        connection: on which a frame was staged.
        rows: of the frame.
        names: the id columns.
        types: of these, as they are stored.

    Returns:
        For each part, the condition and its values.
    """
    number = -(-rows // _ROWS)
    if number <= 1:
        return [("TRUE", {})]
    name = quote(names[0])
    if types[names[0]] not in _ORDERED:
        return [(f"hash({columns(names)}) % {number} = {i}", {}) for i in range(number)]
    # By ranges: where ids ascend, as they often do, most of the other rows need not be read.
    some = f"hash({name}) % {_ROWS // _SEEN} = 0"
    found = connection.execute(
        f"SELECT DISTINCT {name} FROM {STAGE} WHERE {some} ORDER BY ALL"
    ).fetchall()
    bounds = [found[i * len(found) // number][0] for i in range(1, number)] if found else []
    if not bounds:
        return [("TRUE", {})]
    parts: list[tuple[str, dict[str, object]]] = [(f"{name} < $high", {"high": bounds[0]})]
    parts += [
        (f"{name} >= $low AND {name} < $high", {"low": low, "high": high})
        for low, high in pairwise(bounds)
    ]
    return [*parts, (f"{name} >= $low", {"low": bounds[-1]})]
