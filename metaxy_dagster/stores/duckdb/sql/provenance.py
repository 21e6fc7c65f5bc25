"""SQL for provenance: the rules of :mod:`metaxy_dagster.stores.frames.encoding`, spoken by DuckDB.

All constants (field keys, code versions, names of upstream fields) are bound as parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from metaxy_dagster import constants as c
from metaxy_dagster.features import FieldKey, FieldPlan, ParentField
from metaxy_dagster.stores.duckdb.sql.identifiers import literal, quote
from metaxy_dagster.stores.duckdb.sql.widening import INTEGERS
from metaxy_dagster.stores.frames.encoding import HASH_LENGTH, MISSING, encode, encode_all

__all__ = [
    "Literals",
    "Values",
    "encoded",
    "field_provenances",
    "id_text",
    "sample_provenance",
    "sample_version",
    "struct_of",
]

# From so many parents on, over all fields, each is encoded once for all fields that have it.
_MANY_PARENTS = 64


class Values(dict[str, object]):
    """Named parameters of a query; ``bind`` gives the placeholder of a value."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: dict[str, str] = {}

    def bind(self, value: object) -> str:
        """Add a value and return its placeholder.

        Equal texts share one, so that DuckDB sees equal expressions and computes them once.
        """
        if isinstance(value, str) and value in self._texts:
            return self._texts[value]
        name = f"v{len(self)}"
        self[name] = value
        if isinstance(value, str):
            self._texts[value] = f"${name}"
        return f"${name}"


class Literals(Values):
    """As :class:`Values`, for views, which take no parameters: every value is an escaped text."""

    def bind(self, value: object) -> str:
        """The value as a quoted SQL string."""
        return literal(str(value))


def encoded(expression: str) -> str:
    """Length-prefix a VARCHAR expression; NULL becomes ``-``."""
    return f"coalesce(strlen({expression}) || ':' || {expression}, '{MISSING}')"


def id_text(column: str, kinds: Sequence[str]) -> str:
    """An id as text, the same in every engine, and whatever its column has widened to since.

    Args:
        column: a quoted column.
        kinds: the DuckDB types that it has had, oldest first; the last is that of now.
    """
    *had, kind = kinds
    text = _text(column, kind)
    if {*kinds} <= INTEGERS:
        return text
    for earlier in reversed(had):
        # By way of microseconds: DuckDB has no way from nanoseconds to seconds.
        there = f"TRY_CAST({column} AS TIMESTAMP)" if kind == "TIMESTAMP_NS" else column
        then = f"TRY_CAST({there} AS {earlier})"
        same = f"TRY_CAST({then} AS {kind}) = {column}"
        text = f"CASE WHEN {same} THEN {_text(then, earlier)} ELSE '~' || {text} END"
    return text


def _text(column: str, kind: str) -> str:
    if kind in ("TIMESTAMP_NS", "TIMESTAMPTZ_NS"):
        return f"epoch_ns({column})::VARCHAR"
    if kind.startswith("TIMESTAMP"):
        return f"epoch_us({column})::VARCHAR"
    return f"{column}::VARCHAR"


def field_provenances(
    fields: Sequence[FieldPlan],
    versions: Mapping[ParentField, str],
    values: Values,
    source: str,
    kept: Sequence[str] = (),
) -> tuple[dict[FieldKey, str], str]:
    """The expected provenance of each field, and what the expressions are to be selected from.

    What several fields have in common is written once, in a subquery: where many fields depend on
    many, the query would else grow with the product of both.

    Args:
        fields: the fields and their parents.
        versions: for each parent, the column that holds its data version.
        values: receives the constants.
        source: what the columns are selected from.
        kept: further quoted columns of the source that are needed.
    """
    sets = Counter(field.parents for field in fields if field.parents)
    columns = [*kept, *dict.fromkeys(versions.values())]
    if sum(map(len, sets)) > _MANY_PARENTS:
        parts = {one: quote(f"metaxy_v{i}") for i, one in enumerate(versions)}
        texts = {parts[one]: _named([(str(one), versions[one])], values) for one in parts}
        source, columns = _with(texts, columns, source), [*kept, *texts]
        tails = {one: f"concat({', '.join(map(parts.__getitem__, one))})" for one in sets}
    else:
        tails = {
            parents: _named([(str(one), versions[one]) for one in parents], values)
            for parents in sets
        }
    shared = [parents for parents, number in sets.items() if number > 1]
    if shared:
        names = {parents: quote(f"metaxy_t{i}") for i, parents in enumerate(shared)}
        source = _with({names[one]: tails[one] for one in shared}, columns, source)
        tails |= names
    return {field.key: _provenance(field, tails, values) for field in fields}, source


def _with(texts: Mapping[str, str], columns: Sequence[str], source: str) -> str:
    """The columns of a source with some expressions beside them, under their names."""
    named = [f"{sql} AS {name}" for name, sql in texts.items()]
    return f"(SELECT {', '.join([*columns, *named])} FROM {source})"


def _provenance(
    plan: FieldPlan, tails: Mapping[tuple[ParentField, ...], str], values: Values
) -> str:
    own = encode_all([str(plan.key), plan.code_version, str(len(plan.parents))])
    head = f"{values.bind(own)}::VARCHAR"
    return f"md5(concat({head}, {tails[plan.parents]}))" if plan.parents else f"md5({head})"


def sample_provenance(
    by_field: Mapping[FieldKey, str], values: Values, *, hashed: bool = False
) -> str:
    """The provenance of a whole sample, from the columns that hold those of its fields.

    Args:
        by_field: the columns.
        values: receives the constants.
        hashed: whether they hold hashes of ours, whose length is known.
    """
    pairs = [(str(key), by_field[key]) for key in sorted(by_field)]
    return f"md5({_of_hashes(pairs, values) if hashed else _named(pairs, values)})"


def sample_version(given: str, by_field: Mapping[FieldKey, str], values: Values) -> str:
    """One more column: the data version of a sample; a field without one follows its provenance.

    Args:
        given: the column that holds what a user set.
        by_field: the columns that hold the provenance.
        values: receives the constants.
    """
    versions = {
        key: f"coalesce({given}.{quote(str(key))}, {column})" for key, column in by_field.items()
    }
    return f", {sample_provenance(versions, values)} AS {quote(c.COL_DATA_VERSION)}"


def _named(pairs: Sequence[tuple[str, str]], values: Values) -> str:
    """Names with the length-prefixed texts of their columns.

    Nearly all of these are hashes of ours: then their lengths need not be written out anew for
    each row, which takes a third off the time of a hash.
    """
    hashed = " AND ".join(f"strlen({column}) = {HASH_LENGTH}" for _, column in pairs)
    terms = ", ".join(
        f"{values.bind(encode(name))}::VARCHAR, {encoded(column)}" for name, column in pairs
    )
    return f"CASE WHEN {hashed} THEN {_of_hashes(pairs, values)} ELSE concat({terms}) END"


def _of_hashes(pairs: Sequence[tuple[str, str]], values: Values) -> str:
    terms = ", ".join(
        f"{values.bind(f'{encode(name)}{HASH_LENGTH}:')}::VARCHAR, {column}"
        for name, column in pairs
    )
    return f"concat({terms})"


def struct_of(entries: Mapping[str, str]) -> str:
    """A STRUCT with one VARCHAR entry per name."""
    body = ", ".join(f"{quote(name)} := {sql}::VARCHAR" for name, sql in entries.items())
    return f"struct_pack({body})"
