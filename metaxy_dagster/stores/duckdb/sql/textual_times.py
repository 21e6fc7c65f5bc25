"""Conditions on times that are stored as text, as SQL; the same as :meth:`Within.decide`."""

from __future__ import annotations

import datetime as dt

from metaxy_dagster.features.spans import Spans, TextFormat, Within, iso_patterns
from metaxy_dagster.features.text_ranges import text_ranges
from metaxy_dagster.stores.duckdb.sql.distinct_texts import DistinctTexts
from metaxy_dagster.stores.duckdb.sql.provenance import Values

__all__ = ["only_within", "within"]

_OFFSET = "'[+-]([01][0-9]|2[0-3])[0-5][0-9]$'"


def only_within(
    node: Within, column: str, values: Values, *, texts: DistinctTexts | None = None
) -> str:
    """A condition for rows that are wanted; not true where it cannot be decided.

    What comes first is compared as text: so DuckDB passes over blocks of rows, and decides few.

    Args:
        node: the parsed condition.
        column: SQL that reads the column as text.
        values: receives the literals.
        texts: the rows that will be asked, if they are known.
    """
    ranges = None if node.undecided else text_ranges(node)
    if ranges is None:
        once = texts and texts.decided(column, lambda text: within(node, text, values))
        # NULL is no time that cannot be read.
        return f"{column} IS NOT NULL AND {once}" if once else within(node, column, values)
    bound = [(values.bind(start), values.bind(end)) for start, end in ranges]
    parts = [f"({column} >= {start} AND {column} < {end})" for start, end in bound]
    if node.keys:
        parts.append(f"{column} IN ({', '.join(map(values.bind, node.keys))})")
    return f"({' OR '.join(parts) or 'FALSE'}) AND {within(node, column, values)}"


def within(node: Within, column: str, values: Values) -> str:
    """A condition; NULL where it cannot be decided.

    Cheap tests come before dear ones: many rows are looked at, and few are within.

    Args:
        node: the parsed condition.
        column: SQL that reads the column as text.
        values: receives the literals.
    """
    writer = _Writer(column, values, wanted=not node.undecided)
    cases = writer.keys(node)
    cases += [writer.plain(each) for each in node.formats if each.offset is not True]
    offset = [writer.with_offset(e, node.moments) for e in node.formats if e.offset is not False]
    ends = f"({column} LIKE '%+____' OR {column} LIKE '%-____')"
    cases += [(f"{ends} AND {when}", then) for when, then in offset]
    cases += [(writer.like(shape), "FALSE") for shape in node.shapes]
    cases.append((f"{column} LIKE '____-__-__%'", writer.iso(node)))
    decided = _case(cases)
    return f"{column} IS NOT NULL AND ({decided}) IS NULL" if node.undecided else decided


class _Writer:
    """Cases of one column: when a text is written in some way, and whether it is within then."""

    def __init__(self, column: str, values: Values, *, wanted: bool) -> None:
        self._column = column
        self._values = values
        # Else all that matters is whether it can be told.
        self._wanted = wanted

    def keys(self, node: Within) -> list[tuple[str, str]]:
        bound = ", ".join(map(self._values.bind, node.keys))
        return [(f"{self._column} IN ({bound})", "TRUE")] if node.keys else []

    def plain(self, each: TextFormat) -> tuple[str, str]:
        read, written = self._read(each, self._column)
        # Where the year comes first, the text tells more cheaply than the time.
        known = _years(self._column) if each.fmt.startswith("%Y") else _years(read)
        return f"{written} = {self._column}", self._within(read, known, each.spans)

    def with_offset(self, each: TextFormat, moments: Spans) -> tuple[str, str]:
        base, tail = f"left({self._column}, -5)", f"right({self._column}, 5)"
        read, written = self._read(each, base)
        minutes = f"(CAST({tail}[2:3] AS BIGINT) * 60 + CAST({tail}[4:5] AS BIGINT))"
        shift = f"(CASE {tail}[1] WHEN '-' THEN -1 ELSE 1 END * {minutes} * 60000000)"
        utc = f"make_timestamp(epoch_us({read}) - {shift})"
        return (
            f"regexp_matches({self._column}, {_OFFSET}) AND {written} = {base}",
            self._within(utc, f"{_years(read)} AND {_years(utc)}", moments),
        )

    def iso(self, node: Within) -> str:
        """Of text that begins like a date."""
        column, (_, clock, moment) = self._column, iso_patterns()
        day = f"TRY_CAST({column} AS DATE)"
        closed = f"regexp_replace({column}, ' ([Z+-])', '\\1')"
        utc = f"make_timestamp(epoch_us(TRY_CAST({closed} AS TIMESTAMPTZ)))"
        known = f"{_years(column)} AND {_years(utc)}"
        shown = f"TRY_CAST({column} AS TIMESTAMP)"
        return _case(
            [
                (
                    f"length({column}) = 10",
                    _case(
                        [
                            (
                                f"CAST({day} AS VARCHAR) = {column}",
                                self._within(
                                    f"CAST({day} AS TIMESTAMP)", _years(column), node.dates
                                ),
                            )
                        ]
                    ),
                ),
                (
                    self.like(clock),
                    self._within(shown, f"{_years(column)} AND {shown} IS NOT NULL", node.clock),
                ),
                (self.like(moment), self._within(utc, known, node.moments)),
            ]
        )

    def like(self, pattern: str) -> str:
        return f"regexp_full_match({self._column}, {self._values.bind(pattern)})"

    def _read(self, each: TextFormat, text: str) -> tuple[str, str]:
        """The time that a text says in a format, and how the format would say it."""
        fmt = f"{self._values.bind(each.fmt)}::VARCHAR"
        read = f"try_strptime({text}, {fmt})"
        return read, f"strftime({read}, {fmt})"

    def _within(self, moment: str, known: str, spans: Spans) -> str:
        """Whether a timestamp is within; NULL where it is not known, or unsure."""
        cases = [(self._between(moment, span), "NULL") for span in spans.unsure]
        if self._wanted:
            cases += [(self._between(moment, span), "TRUE") for span in spans.certain]
        return _case([*cases, (known, "FALSE")])

    def _between(self, moment: str, span: tuple[dt.datetime, dt.datetime]) -> str:
        start, end = (self._values.bind(each.isoformat(sep=" ")) for each in span)
        return f"({moment} >= {start}::TIMESTAMP AND {moment} < {end}::TIMESTAMP)"


def _case(cases: list[tuple[str, str]]) -> str:
    said = " ".join(f"WHEN {when} THEN {then}" for when, then in cases)
    return f"(CASE {said} END)"


def _years(of: str) -> str:
    """Years that are written alike everywhere; of a time, or of text that begins with them."""
    if of.startswith(("try_strptime", "make_timestamp")):
        return f"({of} >= TIMESTAMP '1000-01-01' AND {of} < TIMESTAMP '9999-01-01')"
    return f"({of} >= '1000' AND {of} < '9999')"
