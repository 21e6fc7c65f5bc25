"""Narwhals expressions become filters, as far as a filter can say the same.

This floor knows no narwhals: an expression is told by where its class comes from, and taken apart
by the list of steps that it is made of. What cannot be taken apart is refused, never guessed.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.filters import (
    And,
    Between,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Member,
    Not,
    Or,
)
from metaxy_dagster.features.operands import MAX_DEPTH

__all__ = ["is_expression", "translate"]

_COMPARISONS: Final = {
    "__eq__": "=",
    "__ne__": "!=",
    "__lt__": "<",
    "__le__": "<=",
    "__gt__": ">",
    "__ge__": ">=",
}
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SIDES: Final = {
    "both": (">=", "<="),
    "left": (">=", "<"),
    "right": (">", "<="),
    "none": (">", "<"),
}
_ESCAPE: Final = "!"


def is_expression(value: object) -> bool:
    """Whether something is an expression of narwhals, of whichever of its interfaces."""
    return any(
        one.__name__ == "Expr" and one.__module__.partition(".")[0] == "narwhals"
        for one in type(value).__mro__
    )


def translate(expression: object) -> Filter:
    """The filter that says the same as an expression.

    Args:
        expression: comparisons of ``nw.col`` or of members of structs with literals,
            ``is_in``, ``is_null``, ``is_between``, ``str.starts_with``, ``str.ends_with``,
            ``str.contains(…, literal=True)``, boolean columns, joined by ``&``, ``|`` and ``~``.

    Raises:
        FeatureError: it says something else.

    Example:
        >>> import narwhals as nw
        >>> str(translate((nw.col("height") > 720) & ~nw.col("codec").is_in(["av1"])))
        "height > 720 AND NOT codec IN ('av1')"
    """
    return _Translation(expression).whole()


class _Literal:
    """A literal in an expression: ``nw.lit``, or a value as it is."""

    def __init__(self, value: object) -> None:
        self.value = value


class _Step:
    """One step of an expression, alike in all versions of narwhals."""

    def __init__(self, node: Any) -> None:
        self.name: str = node.name
        self.kwargs: Mapping[str, Any] = node.kwargs
        self.arguments: tuple[Any, ...] = (*node.exprs,)

    def argument(self, name: str) -> Any:
        """The only argument, which some versions give by its name."""
        return self.kwargs[name] if name in self.kwargs else self.arguments[0]


class _Translation:
    def __init__(self, expression: object) -> None:
        self._expression = expression

    def whole(self) -> Filter:
        try:
            return self._condition(self._value(self._expression, 0))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            # Another version of narwhals, whose expressions are made otherwise.
            raise self._refusal("this expression") from error

    def _value(self, given: Any, depth: int) -> Filter | Member | str | _Literal:
        """A condition, a column, a member or a literal."""
        if not is_expression(given):
            return _Literal(given)
        if depth > MAX_DEPTH:
            raise FeatureError(
                "a filter is nested too deeply",
                found="a narwhals expression",
                allowed=f"{MAX_DEPTH} levels",
                remedy="write it flatter, for instance with is_in",
            )
        first, *more = map(_Step, given._nodes)  # noqa: SLF001 - no public way; another version is refused
        found = self._first(first, depth)
        at = 0
        while at < len(more):
            step = more[at]
            if step.name in ("__and__", "__or__"):
                # A chain of one operator is one condition, however long.
                end = at
                while end < len(more) and more[end].name == step.name:
                    end += 1
                sides = [self._value(one.arguments[0], depth + 1) for one in more[at:end]]
                found = self._joined(And if step.name == "__and__" else Or, [found, *sides])
                at = end
            else:
                found = self._step(found, step, depth)
                at += 1
        return found

    def _first(self, step: _Step, depth: int) -> Filter | Member | str | _Literal:
        if step.name == "col" and len(step.kwargs["names"]) == 1:
            return str(step.kwargs["names"][0])
        if step.name == "lit":
            return _Literal(step.kwargs["value"])
        if step.name in ("all_horizontal", "any_horizontal") and not step.kwargs["ignore_nulls"]:
            sides = [
                one if isinstance(one, str) else self._value(one, depth + 1)
                for one in step.arguments
            ]
            return self._joined(And if step.name == "all_horizontal" else Or, sides)
        raise self._refusal(step.name)

    def _step(
        self, found: Filter | Member | str | _Literal, step: _Step, depth: int
    ) -> Filter | Member | str | _Literal:
        name = step.name
        if name == "__invert__":
            return Not(self._condition(found))
        if name == "alias":
            return found
        if name in _COMPARISONS:
            other = self._value(step.arguments[0], depth + 1)
            return self._comparison(found, _COMPARISONS[name], other)
        if isinstance(found, str | Member):
            return self._of_column(found, step, depth)
        raise self._refusal(name)

    def _of_column(self, column: str | Member, step: _Step, depth: int) -> Filter | Member:
        match step.name:
            case "struct.field":
                path = column.path if isinstance(column, Member) else (column,)
                return Member((*path, step.kwargs["name"]))
            case "is_null":
                return IsNull(column)
            case "is_in":
                return _in(column, step.kwargs["other"])
            case "is_between":
                return self._between(column, step, depth)
            case name if name in _PATTERNS:
                return self._like(column, step)
        raise self._refusal(step.name)

    def _comparison(self, left: Any, op: str, right: Any) -> Filter:
        if isinstance(left, _Literal):
            left, op, right = right, _TURNED.get(op, op), left
        if isinstance(right, _Literal) and isinstance(left, str | Member):
            return Compare(left, op, right.value)  # type: ignore[arg-type]  # checked by it
        # Of conditions, as in (a > 1) == True; of two columns.
        raise self._refusal(f"a comparison by {op} of other than a column and a value")

    def _between(self, column: str | Member, step: _Step, depth: int) -> Filter:
        # Text is the name of a column here, and a value in comparisons.
        low, high = (
            one if isinstance(one, str) else self._value(one, depth + 1) for one in step.arguments
        )
        if not isinstance(low, _Literal) or not isinstance(high, _Literal):
            raise self._refusal("is_between of other than values")
        ends: Any = (low.value, high.value)
        if step.kwargs["closed"] == "both":
            return Between(column, *ends)
        above, below = _SIDES[step.kwargs["closed"]]
        return And((Compare(column, above, ends[0]), Compare(column, below, ends[1])))

    def _like(self, column: str | Member, step: _Step) -> Filter:
        keyword, before, after = _PATTERNS[step.name]
        text = step.argument(keyword)
        if not isinstance(text, str) or not step.kwargs.get("literal", True):
            raise self._refusal(f"{step.name} of other than a text")
        escaped = text
        for sign in (_ESCAPE, "%", "_"):
            escaped = escaped.replace(sign, _ESCAPE + sign)
        escape = None if escaped == text else _ESCAPE
        return Like(column, f"{before}{escaped}{after}", escape=escape)

    def _joined(self, kind: type[And | Or], sides: Iterable[Any]) -> Filter:
        parts: list[Filter] = []
        for side in sides:
            one = self._condition(side)
            parts += one.parts if isinstance(one, kind) else (one,)
        return kind(tuple(parts)) if len(parts) > 1 else parts[0]

    def _condition(self, found: Filter | Member | str | _Literal) -> Filter:
        """A condition; a column stands for its being true."""
        if isinstance(found, str | Member):
            return Compare(found, "=", value=True)
        if isinstance(found, _Literal):
            raise self._refusal(f"the value {reprlib.repr(found.value)}")
        return found

    def _refusal(self, step: str) -> FeatureError:
        try:
            whole = reprlib.repr(str(self._expression))
        except RecursionError:
            whole = "an expression nested too deeply to be written down"
        return FeatureError(
            "a narwhals expression says more than a filter can",
            found=f"{step}, in {whole}",
            allowed="columns and members of structs, compared with values, is_in, is_null,"
            " is_between, starts_with, ends_with, contains(literal=True), joined by & | ~",
            remedy="write the condition as text, or move it into a column of the upstream",
        )


_PATTERNS: Final[Mapping[str, tuple[str, str, str]]] = {
    "str.starts_with": ("prefix", "", "%"),
    "str.ends_with": ("suffix", "%", ""),
    "str.contains": ("pattern", "%", "%"),
}


def _in(column: str | Member, values: Iterable[Any]) -> Filter:
    listed = tuple(values)
    # In nothing is nobody, not even NULL.
    return In(column, listed) if listed else And((IsNull(column), IsNull(column, negated=True)))
