"""SQL for provenance: the rules of :mod:`metaxy_dagster.stores.encoding`, spoken by DuckDB.

All constants (field keys, code versions, names of upstream fields) are bound as parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metaxy_dagster.features import FieldKey, FieldPlan, ParentField
from metaxy_dagster.stores.duckdb.identifiers import literal, quote
from metaxy_dagster.stores.encoding import HASH_LENGTH, MISSING, encode, encode_all

__all__ = [
    "Literals",
    "Values",
    "encoded",
    "field_provenance",
    "id_text",
    "sample_provenance",
    "struct_of",
]


class Values(dict[str, object]):
    """Named parameters of a query; ``bind`` gives the placeholder of a value."""

    def bind(self, value: object) -> str:
        """Add a value and return its placeholder."""
        name = f"v{len(self)}"
        self[name] = value
        return f"${name}"


class Literals(Values):
    """As :class:`Values`, for views, which take no parameters: every value is an escaped text."""

    def bind(self, value: object) -> str:
        """The value as a quoted SQL string."""
        return literal(str(value))


def encoded(expression: str) -> str:
    """Length-prefix a VARCHAR expression; NULL becomes ``-``."""
    return f"coalesce(strlen({expression}) || ':' || {expression}, '{MISSING}')"


def id_text(column: str, kind: str) -> str:
    """An id as text, the same in every engine.

    Args:
        column: a quoted column.
        kind: its DuckDB type.
    """
    if kind == "TIMESTAMP_NS":
        return f"epoch_ns({column})::VARCHAR"
    if kind.startswith("TIMESTAMP"):
        return f"epoch_us({column})::VARCHAR"
    return f"{column}::VARCHAR"


def field_provenance(plan: FieldPlan, versions: Mapping[ParentField, str], values: Values) -> str:
    """The expected provenance of a field.

    Args:
        plan: the field and its parents.
        versions: for each parent, the column that holds its data version.
        values: receives the constants.
    """
    constant = encode_all([str(plan.key), plan.code_version, str(len(plan.parents))])
    terms = []
    for parent in plan.parents:
        constant += encode(f"{parent.feature}:{parent.field}")
        terms += [f"{values.bind(constant)}::VARCHAR", encoded(versions[parent])]
        constant = ""
    if constant:
        terms.append(f"{values.bind(constant)}::VARCHAR")
    return f"md5({' || '.join(terms)})"


def sample_provenance(
    by_field: Mapping[FieldKey, str], values: Values, *, hashed: bool = False
) -> str:
    """The provenance of a whole sample, from the columns that hold those of its fields.

    Args:
        by_field: the columns.
        values: receives the constants.
        hashed: whether they hold hashes of ours, whose length is known.
    """
    terms = []
    for key in sorted(by_field):
        if hashed:
            constant = values.bind(f"{encode(str(key))}{HASH_LENGTH}:")
            terms += [f"{constant}::VARCHAR", by_field[key]]
        else:
            terms += [f"{values.bind(encode(str(key)))}::VARCHAR", encoded(by_field[key])]
    return f"md5({' || '.join(terms)})"


def struct_of(entries: Mapping[str, str], names: Sequence[str] | None = None) -> str:
    """A STRUCT with one VARCHAR entry per name, NULL for those without an expression."""
    wanted = names if names is not None else tuple(entries)
    body = ", ".join(f"{quote(name)} := {entries.get(name, 'NULL')}::VARCHAR" for name in wanted)
    return f"struct_pack({body})" if body else 'struct_pack("-" := NULL::VARCHAR)'
