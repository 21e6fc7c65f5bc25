"""Names and values on their way into SQL: quoted identifiers, escaped literals, table names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from metaxy_dagster.features import FeatureKey

__all__ = [
    "BLOCKS",
    "CATALOG",
    "columns",
    "empty_table",
    "history_table",
    "literal",
    "pending_table",
    "quarantine_table",
    "quote",
    "same_ids",
    "table_name",
    "table_of",
]

# What may stand for itself in a table name: lower case, no double underscore, so that the
# joined name reads back in one way only.
_PLAIN = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_MAX_PLAIN = 60
# The name under which the file is attached, whatever the file is called.
CATALOG = "metaxy_store"
# What a new file is cut into; a table takes one at least, of 256 KiB by default. Measured: loads
# and scans of a million rows take as long as with these, and the file is 2% larger. In smaller
# ones texts are compressed less well: 17% at 32 KiB, 37% at 16 KiB.
BLOCKS = "BLOCK_SIZE 65536"


def quote(name: str) -> str:
    """A quoted SQL identifier.

    Example:
        >>> quote('a"b')
        '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted SQL string; DuckDB knows no other escape than the doubled quote.

    Example:
        >>> literal("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def columns(names: Iterable[str], alias: str | None = None) -> str:
    """A comma-separated list of quoted columns, qualified by ``alias`` if one is given.

    Example:
        >>> columns(["id", "path"], "t")
        't."id", t."path"'
    """
    prefix = f"{alias}." if alias else ""
    return ", ".join(f"{prefix}{quote(name)}" for name in names)


def same_ids(names: Iterable[str], one: str, other: str) -> str:
    """A condition that holds for rows of one sample, in whatever types its ids stand in each.

    Example:
        >>> same_ids(["id"], "a", "b")
        'a."id"::VARCHAR = b."id"::VARCHAR'
    """
    return " AND ".join(f"{one}.{quote(n)}::VARCHAR = {other}.{quote(n)}::VARCHAR" for n in names)


def table_name(key: FeatureKey) -> str:
    """The table of a feature: readable where possible, never shared by two keys.

    DuckDB folds case, and ``a/b__c`` would meet ``a__b/c``; a key that is not plain gets a
    suffix of its own hash behind a ``~``, which no plain key can contain.

    Example:
        >>> table_name(FeatureKey("audio/clusters"))
        'audio__clusters'
        >>> table_name(FeatureKey("Audio/clusters"))
        'audio__clusters~4136aa7455295437ae0db1285a07c801'
    """
    plain = "__".join(key.parts)
    if len(plain) <= _MAX_PLAIN and all(_PLAIN.fullmatch(part) for part in key.parts):
        return plain
    digest = hashlib.sha256(str(key).encode()).hexdigest()[:32]
    return f"{plain.lower()[:_MAX_PLAIN]}~{digest}"


def table_of(key: FeatureKey) -> str:
    """The quoted, qualified name of a feature's current-state table."""
    return f"{CATALOG}.main.{quote(table_name(key))}"


def history_table(key: FeatureKey) -> str:
    """The quoted, qualified name of a feature's history table."""
    return f"{CATALOG}.history.{quote(table_name(key))}"


def pending_table(key: FeatureKey) -> str:
    """The quoted, qualified name of the table of samples that a resolve left unanswered."""
    return f"{CATALOG}.pending.{quote(table_name(key))}"


def empty_table(key: FeatureKey) -> str:
    """The quoted, qualified name of the table of samples that were computed to nothing."""
    return f"{CATALOG}.empty.{quote(table_name(key))}"


def quarantine_table(key: FeatureKey) -> str:
    """The quoted, qualified name of the table of samples that could not be computed."""
    return f"{CATALOG}.quarantine.{quote(table_name(key))}"
