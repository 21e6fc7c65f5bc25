"""What is noted of a feature's columns beside their types, and how a write moves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import duckdb

from metaxy_dagster.stores.duckdb.file.entries import Entry
from metaxy_dagster.stores.duckdb.file.layout import Table
from metaxy_dagster.stores.duckdb.sql.identifiers import quote
from metaxy_dagster.stores.duckdb.write.staged import Staged
from metaxy_dagster.stores.duckdb.write.types import Agreed
from metaxy_dagster.stores.frames.logical import Logical, merged, of_text, to_text

__all__ = ["altered", "had_types", "noted", "renamed"]

# An entry that was written by this release, and has nothing to note.
_NOTHING = "{}"


def had_types(entry: Entry) -> dict[str, list[str]]:
    """The types that columns had before those of now, oldest first."""
    return json.loads(entry.had) if entry.had else {}


def altered(
    entry: Entry, kinds: Mapping[str, tuple[str, str]], arrow: Mapping[str, Logical]
) -> Entry:
    """An entry after columns were given other types on purpose.

    Args:
        entry: what is known of the feature.
        kinds: types before and after, of the columns that changed.
        arrow: Arrow types that were asked for.
    """
    notes = {name: one for name, one in of_text(entry.types).items() if name not in arrow}
    notes = {name: one for name, one in notes.items() if name not in kinds}
    notes |= {name: one for name, one in arrow.items() if not one.says_nothing}
    had = had_types(entry)
    for name, (before, _) in kinds.items():
        had.setdefault(name, []).append(before)
    return replace(entry, types=to_text(notes) or _NOTHING, had=json.dumps(had) if had else None)


def renamed(entry: Entry, names: Mapping[str, str]) -> Entry:
    """An entry after columns got other names.

    Args:
        entry: what is known of the feature.
        names: what columns are called now, and what they were called.
    """
    notes, had = of_text(entry.types), had_types(entry)
    kept = {now: notes[before] for now, before in names.items() if before in notes}
    kinds = {now: had[before] for now, before in names.items() if before in had}
    types = None if entry.types is None else to_text(kept) or _NOTHING
    return replace(entry, types=types, had=json.dumps(kinds) if kinds else None)


def noted(
    connection: duckdb.DuckDBPyConnection,
    entry: Entry,
    found: Table | None,
    staged: Staged,
    agreed: Mapping[str, Agreed],
) -> Entry:
    """An entry with what a frame's columns were, and which types the stored ones had.

    Args:
        connection: any.
        entry: what is known of the feature.
        found: its table before the write; ``None`` for a new feature.
        staged: the frame.
        agreed: how its columns are stored.
    """
    before = dict(of_text(entry.types)) if entry.types and found is not None else {}
    had = {} if found is None else had_types(entry)
    for name, one in agreed.items():
        stored = None if found is None else found.column_named(name)
        arrived = staged.logicals.get(name)
        if stored is None or found is None:
            before |= {} if arrived is None else {name: arrived}
            continue
        if found.types[stored] != one.kind:
            had.setdefault(stored, []).append(found.types[stored])
        if not one.holds:
            continue
        known = before.pop(stored, None)
        # Of a file of an older format nothing is known: the first frame tells.
        if one.fresh or (known is None and entry.types is None):
            kept = arrived
        elif (
            known is not None
            and found.types[stored] == one.kind
            and (arrived is None or arrived.same(known))
        ):
            kept = known
        else:
            kept = None if known is None else _merged(connection, known, arrived, one.kind)
        before |= {} if kept is None else {stored: kept}
    return replace(entry, types=to_text(before) or _NOTHING, had=json.dumps(had) if had else None)


def _merged(
    connection: duckdb.DuckDBPyConnection, known: Logical, arrived: Logical | None, kind: str
) -> Logical | None:
    relation = connection.sql(f"SELECT NULL::{kind} AS {quote('x')} LIMIT 0")
    physical = relation.to_arrow_table().schema.field(0)
    return merged(known, arrived or Logical(physical), physical.type)
