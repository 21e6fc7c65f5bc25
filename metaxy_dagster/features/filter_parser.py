"""From the text of a filter to its parsed form."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from datetime import UTC, date, datetime

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.filters import (
    And,
    Between,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Literal,
    Member,
    Not,
    Or,
)
from metaxy_dagster.features.operands import KEYWORDS, MAX_DEPTH

__all__ = ["parse_filter"]

MAX_LENGTH = 10_000
# The widest integer that databases know has 39 digits.
MAX_DIGITS = 40
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<op><=|>=|<>|!=|==|=|<|>)
    | (?P<mark>[(),.])
    )""",
    re.VERBOSE | re.ASCII,
)
_SYNONYMS = {"<>": "!=", "==": "="}
# The operator that says the same with the column in front.
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MOMENTS = {"date": "2026-01-31", "timestamp": "2026-01-31 12:30:00"}
_MOMENTS["timestamptz"] = f"{_MOMENTS['timestamp']}+02:00"
# Python takes more spellings, such as weeks, and cuts what is finer than microseconds.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
_GRAMMAR = (
    "column = value (also != < <= > >=), column [NOT] IN (…), column IS [NOT] NULL,"
    " column [NOT] BETWEEN … AND …, column [NOT] LIKE '…' (also ILIKE), a column that is true or"
    " false, joined by AND, OR, NOT and parentheses; members of a struct as column.member; times"
    " as DATE '…', TIMESTAMP '…', TIMESTAMPTZ '…'"
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_filter(text: object) -> Filter:
    """Parse a condition on the columns of an upstream.

    Args:
        text: comparisons of a column with a literal, ``IN``, ``IS NULL``, ``BETWEEN``,
            ``LIKE``, ``ILIKE``, and columns that are true or false, joined by ``AND``, ``OR``,
            ``NOT`` and parentheses. Words in any case; columns bare or in double quotes, members
            of a struct behind a dot; text in single quotes, after ``DATE``, ``TIMESTAMP`` or
            ``TIMESTAMPTZ`` where it is a time.

    Raises:
        FeatureError: the text is something else; the error shows where.

    Example:
        >>> one = parse_filter("height > 720 and codec in ('av1', 'vp9')")
        >>> str(one)
        "height > 720 AND codec IN ('av1', 'vp9')"
        >>> sorted(one.columns)
        ['codec', 'height']
        >>> one.parts[0]
        Compare(column='height', op='>', value=720)
    """
    if not isinstance(text, str) or not text.strip():
        raise FeatureError(
            "not a filter",
            found=reprlib.repr(text),
            allowed=_GRAMMAR,
            remedy="write the condition as text, for instance 'height > 720'",
        )
    if len(text) > MAX_LENGTH:
        raise FeatureError(
            "a filter is too long",
            found=f"{len(text)} characters",
            allowed=f"{MAX_LENGTH} characters",
            remedy="move the condition into a column of the upstream",
        )
    parser = _Parser(text)
    parsed = parser.disjunction()
    parser.end()
    return parsed


class _Parser:
    """Recursive descent; every level of nesting that recurses is counted against ``MAX_DEPTH``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenise()
        self._next = 0
        self._depth = 0

    def disjunction(self) -> Filter:
        parts = [self._conjunction()]
        while self._word("OR"):
            parts.append(self._conjunction())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def end(self) -> None:
        """Refuse what is left over."""
        if self._peek().kind != "end":
            raise self._expected("AND, OR or the end of the filter")

    def _conjunction(self) -> Filter:
        parts = [self._negation()]
        while self._word("AND"):
            parts.append(self._negation())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _negation(self) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:
            raise FeatureError(
                "a filter is nested too deeply",
                found=reprlib.repr(self._text),
                allowed=f"{MAX_DEPTH} levels of parentheses and NOT",
                remedy="write it flatter, for instance with IN (...)",
            )
        if self._word("NOT"):
            parsed: Filter = Not(self._negation())
        elif self._mark("("):
            parsed = self.disjunction()
            self._require(")")
        else:
            parsed = self._predicate()
        self._depth -= 1
        return parsed

    def _predicate(self) -> Filter:
        if self._begins_literal():
            return self._turned()
        column = self._column()
        if self._peek().kind == "op":
            return Compare(column, self._operator(), self._literal(column))
        if self._word("IS"):
            negated = self._word("NOT")
            if not self._word("NULL"):
                raise self._expected("NULL")
            return IsNull(column, negated)
        return self._in_words(column, negated=self._word("NOT"))

    def _in_words(self, column: str | Member, *, negated: bool) -> Filter:
        """What comes behind a column, and is no sign."""
        if self._word("IN"):
            return In(column, self._literals(column), negated)
        if self._word("BETWEEN"):
            low = self._literal(column)
            if not self._word("AND"):
                raise self._expected("AND")
            return Between(column, low, self._literal(column), negated)
        any_case = self._word("ILIKE")
        if any_case or self._word("LIKE"):
            return self._like(column, negated=negated, any_case=any_case)
        if not negated and self._ends_condition():
            return Compare(column, "=", value=True)
        raise self._expected("an operator: = != < <= > >= IN IS BETWEEN LIKE ILIKE")

    def _turned(self) -> Filter:
        """A comparison that begins with its literal."""
        value = self._literal("column")
        if self._peek().kind != "op":
            raise self._expected("an operator: = != < <= > >=")
        op = self._operator()
        return Compare(self._column(), _TURNED.get(op, op), value)

    def _like(self, column: str | Member, *, negated: bool, any_case: bool) -> Filter:
        pattern = self._quoted("a pattern in single quotes")
        escape = self._quoted("a character in single quotes") if self._word("ESCAPE") else None
        return Like(column, pattern, negated, any_case, escape)

    def _operator(self) -> str:
        text = self._peek().text
        self._next += 1
        return _SYNONYMS.get(text, text)

    def _begins_literal(self) -> bool:
        token = self._peek()
        word = token.text.lower() if token.kind == "word" else ""
        return token.kind in ("text", "number") or word in ("true", "false") or self._is_moment()

    def _is_moment(self) -> bool:
        """Whether a date or time comes next; a column may be called date."""
        token = self._peek()
        named = token.kind == "word" and token.text.lower() in _MOMENTS
        return named and self._tokens[self._next + 1].kind == "text"

    def _ends_condition(self) -> bool:
        token = self._peek()
        joined = token.kind == "word" and token.text.upper() in ("AND", "OR")
        return joined or token.kind == "end" or token.text == ")"

    def _column(self) -> str | Member:
        path = [self._name()]
        while self._mark("."):
            path.append(self._name())
        return Member(tuple(path)) if len(path) > 1 else path[0]

    def _name(self) -> str:
        token = self._peek()
        if token.kind == "quoted":
            self._next += 1
            return token.text[1:-1].replace('""', '"')
        if token.kind == "word" and token.text.lower() not in KEYWORDS:
            self._next += 1
            return token.text
        raise self._expected("a column")

    def _quoted(self, expected: str) -> str:
        token = self._peek()
        if token.kind != "text":
            raise self._expected(expected)
        self._next += 1
        return token.text[1:-1].replace("''", "'")

    def _literals(self, column: str | Member) -> tuple[Literal, ...]:
        self._require("(")
        values = [self._literal(column)]
        while self._mark(","):
            values.append(self._literal(column))
        self._require(")")
        return tuple(values)

    def _literal(self, column: str | Member) -> Literal:
        if self._is_moment():
            return self._moment()
        token = self._peek()
        self._next += 1
        if token.kind == "text":
            return token.text[1:-1].replace("''", "'")
        if token.kind == "number":
            return self._number(token)
        word = token.text.lower() if token.kind == "word" else ""
        if word in ("true", "false"):
            return word == "true"
        self._next -= 1
        if word == "null":
            raise self._expected("a value", remedy=f"write {column} IS NULL, or IS NOT NULL")
        if token.kind in ("quoted", "word"):
            text = token.text.strip('"')
            raise self._expected(
                "a value", remedy=f"if {text} is text, write it in single quotes: '{text}'"
            )
        raise self._expected("a value")

    def _moment(self) -> date | datetime:
        kind = self._peek().text.lower()
        self._next += 1
        text = self._peek().text[1:-1]
        try:
            found = datetime.fromisoformat(text) if _MOMENT.fullmatch(text) else None
        except ValueError:
            found = None
        if found is not None and kind == "timestamptz" and found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        zoned = found is not None and found.tzinfo is not None
        if found is None or zoned != (kind == "timestamptz"):
            raise self._expected(f"{kind.upper()} '{_MOMENTS[kind]}'")
        if kind == "date" and len(text) > len(_MOMENTS[kind]):
            raise self._expected(f"DATE '{_MOMENTS[kind]}', without a time of day")
        self._next += 1
        return found.date() if kind == "date" else found

    def _number(self, token: _Token) -> int | float:
        if token.text.lstrip("-").isdigit():
            if len(token.text) <= MAX_DIGITS:
                return int(token.text)
            self._next -= 1
            raise self._expected(f"a number of at most {MAX_DIGITS} digits")
        return float(token.text)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _word(self, word: str) -> bool:
        """Step over a keyword if it comes next."""
        token = self._peek()
        found = token.kind == "word" and token.text.upper() == word
        self._next += found
        return found

    def _mark(self, mark: str) -> bool:
        """Step over a bracket or comma if it comes next."""
        token = self._peek()
        found = token.kind == "mark" and token.text == mark
        self._next += found
        return found

    def _require(self, mark: str) -> None:
        if not self._mark(mark):
            raise self._expected(repr(mark))

    def _tokenise(self) -> list[_Token]:
        tokens: list[_Token] = []
        at, stop = 0, len(self._text.rstrip())
        while at < stop:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._refusal(at, "a column, a value, an operator or a parenthesis", None)
            tokens.append(
                _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
            )
            at = match.end()
        return [*tokens, _Token("end", "", stop)]

    def _expected(self, expected: str, *, remedy: str | None = None) -> FeatureError:
        return self._refusal(self._peek().start, expected, remedy)

    def _refusal(self, at: int, expected: str, remedy: str | None) -> FeatureError:
        rest = self._text[at : at + 20]
        return FeatureError(
            f"a filter cannot be read: expected {expected} at character {at + 1}",
            found=f"{rest!r} in {reprlib.repr(self._text)}"
            if rest
            else f"the end of {self._text!r}",
            allowed=_GRAMMAR,
            remedy=remedy or "correct the filter; quote columns with \"…\" and text with '…'",
        )
