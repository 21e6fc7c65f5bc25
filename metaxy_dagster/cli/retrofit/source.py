"""Changes of a user's source, with all comments and the formatting kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import libcst as cst
import libcst.metadata as cst_metadata

__all__ = ["Added", "with_keys", "with_pass"]

_DECORATORS: Final = frozenset({"asset", "graph_asset"})
_INDENT: Final = "    "
_Arguments = Sequence[cst.Arg]


@dataclass(frozen=True)
class Added:
    """A source with metadata keys in it.

    Attributes:
        source: the new text.
        missed: the functions, by line and name, whose decorator takes no keys.
    """

    source: str
    missed: tuple[tuple[int, str], ...] = ()


def with_keys(source: str, keys: Mapping[tuple[int, str], Mapping[str, object]]) -> Added:
    r"""Add metadata keys to the decorators of assets.

    Args:
        source: Python code.
        keys: for functions, by the line of their first decorator and their name, what is to be
            in ``metadata=``; keys that are there already stay as they are.

    Example:
        >>> keys = {(1, "a"): {"metaxy/feature": "a"}}
        >>> print(with_keys("@dg.asset\ndef a(): ...\n", keys).source)
        @dg.asset(
            metadata={"metaxy/feature": "a"},
        )
        def a(): ...
        <BLANKLINE>
    """
    wrapper = cst_metadata.MetadataWrapper(cst.parse_module(source))
    transformer = _Keys(keys)
    changed = wrapper.visit(transformer)
    missed = tuple(sorted(set(keys) - transformer.done))
    return Added(changed.code, missed)


def with_pass(source: str, name: str) -> str | None:
    r"""Run the pass over the Definitions that a module assigns, or a function of it returns.

    Args:
        source: Python code.
        name: what the Definitions are called in it.

    Returns:
        The new text; ``None`` where the code assigns nothing to that name at its top level.

    Example:
        >>> print(with_pass("import dagster as dg\ndefs = dg.Definitions()\n", "defs"))
        import dagster as dg
        import metaxy_dagster as mxd
        defs = dg.Definitions()
        defs = mxd.metaxify_definitions(defs)
        <BLANKLINE>
    """
    module = cst.parse_module(source)
    body = list(module.body)
    for i in reversed(range(len(body))):
        one = body[i]
        if isinstance(one, cst.FunctionDef) and one.name.value == name:
            above = cst.Decorator(cst.parse_expression("mxd.metaxify_definitions"))
            body[i] = one.with_changes(decorators=[above, *one.decorators])
            break
        if isinstance(one, cst.SimpleStatementLine) and _assigns(one, name):
            added = cst.parse_statement(f"{name} = mxd.metaxify_definitions({name})\n")
            body.insert(i + 1, added)
            break
    else:
        return None
    body.insert(_after_imports(body), cst.parse_statement("import metaxy_dagster as mxd\n"))
    return module.with_changes(body=body).code


def _assigns(line: cst.SimpleStatementLine, name: str) -> bool:
    for each in line.body:
        targets: list[cst.BaseExpression] = []
        if isinstance(each, cst.Assign):
            targets = [one.target for one in each.targets]
        elif isinstance(each, cst.AnnAssign) and each.value is not None:
            targets = [each.target]
        if any(isinstance(one, cst.Name) and one.value == name for one in targets):
            return True
    return False


def _after_imports(body: Sequence[cst.BaseStatement | cst.BaseSmallStatement]) -> int:
    last = 0
    for i, one in enumerate(body):
        if isinstance(one, cst.SimpleStatementLine) and any(
            isinstance(each, cst.Import | cst.ImportFrom) for each in one.body
        ):
            last = i + 1
        elif last:
            break
    if not last and body and _is_text(body[0]):
        return 1
    return last


def _is_text(line: cst.BaseStatement | cst.BaseSmallStatement) -> bool:
    """Whether it is a module's docstring."""
    return (
        isinstance(line, cst.SimpleStatementLine)
        and isinstance(line.body[0], cst.Expr)
        and isinstance(line.body[0].value, cst.SimpleString | cst.ConcatenatedString)
    )


@dataclass
class _Keys(cst.CSTTransformer):
    """Adds the keys; notes for which functions."""

    METADATA_DEPENDENCIES = (cst_metadata.PositionProvider,)

    keys: Mapping[tuple[int, str], Mapping[str, object]]
    done: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def leave_FunctionDef(  # noqa: N802 - libcst's name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Change the decorator of a function that gets keys."""
        if not original_node.decorators:
            return updated_node
        first = self.get_metadata(cst_metadata.PositionProvider, original_node.decorators[0])
        place = (first.start.line, original_node.name.value)
        if place not in self.keys:
            return updated_node
        decorators = list(updated_node.decorators)
        for i, each in enumerate(decorators):
            if _name_of(each.decorator) in _DECORATORS:
                changed = _decorated(each.decorator, self.keys[place])
                decorators[i] = each.with_changes(decorator=changed)
                self.done.add(place)
                return updated_node.with_changes(decorators=decorators)
        return updated_node


def _name_of(node: cst.BaseExpression) -> str | None:
    if isinstance(node, cst.Call):
        node = node.func
    if isinstance(node, cst.Attribute):
        node = node.attr
    return node.value if isinstance(node, cst.Name) else None


def _decorated(node: cst.BaseExpression, keys: Mapping[str, object]) -> cst.Call:
    """The call of a decorator that has the keys in its metadata."""
    if not isinstance(node, cst.Call):
        node = cst.Call(node)
    for i, one in enumerate(node.args):
        if one.keyword is not None and one.keyword.value == "metadata":
            merged = _merged(one.value, keys, _inner(node))
            args = [*node.args[:i], one.with_changes(value=merged), *node.args[i + 1 :]]
            return node.with_changes(args=args)
    if not node.args:
        made = _argument(keys, _INDENT).with_changes(comma=cst.Comma(whitespace_after=_line("")))
        return node.with_changes(whitespace_before_args=_line(_INDENT), args=[made])
    return node.with_changes(args=_appended(node, keys))


def _inner(call: cst.Call) -> str:
    """How far the arguments of a call are indented, if each stands on a line of its own."""
    before = call.whitespace_before_args
    return before.last_line.value if isinstance(before, cst.ParenthesizedWhitespace) else ""


def _appended(call: cst.Call, keys: Mapping[str, object]) -> list[cst.Arg]:
    *others, last = call.args
    made, indent = _argument(keys, _inner(call)), _inner(call)
    if not isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace):
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        return [*others, last.with_changes(comma=comma), made]
    # A comment stays behind the argument that it is about.
    behind = last.whitespace_after_arg
    if isinstance(last.comma, cst.Comma):
        behind = last.comma.whitespace_after
    comma = cst.Comma(whitespace_after=_reindented(behind, indent))
    last = last.with_changes(comma=comma, whitespace_after_arg=cst.SimpleWhitespace(""))
    closing = cst.Comma(whitespace_after=_without_comments(behind))
    return [*others, last, made.with_changes(comma=closing)]


def _reindented(
    space: cst.BaseParenthesizableWhitespace, indent: str
) -> cst.ParenthesizedWhitespace:
    """The same comments, and then a new line."""
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return _line(indent)
    return space.with_changes(last_line=cst.SimpleWhitespace(indent), indent=True)


def _without_comments(
    space: cst.BaseParenthesizableWhitespace,
) -> cst.BaseParenthesizableWhitespace:
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return space
    return _line(space.last_line.value)


def _line(indent: str) -> cst.ParenthesizedWhitespace:
    return cst.ParenthesizedWhitespace(indent=True, last_line=cst.SimpleWhitespace(indent))


def _argument(keys: Mapping[str, object], indent: str) -> cst.Arg:
    equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Arg(_dict(keys, indent), keyword=cst.Name("metadata"), equal=equal)


def _dict(keys: Mapping[str, object], indent: str) -> cst.BaseExpression:
    if len(keys) == 1:
        return cst.parse_expression(json.dumps(dict(keys), ensure_ascii=False))
    lines = [
        f"{indent}{_INDENT}{json.dumps(name)}: {_text(value)}," for name, value in keys.items()
    ]
    return cst.parse_expression("\n".join(["{", *lines, f"{indent}}}"]))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _merged(
    value: cst.BaseExpression, keys: Mapping[str, object], indent: str
) -> cst.BaseExpression:
    """The metadata that is there, and the keys behind it."""
    if isinstance(value, cst.Name) and value.value == "None":
        return _dict(keys, indent)
    if not isinstance(value, cst.Dict):
        spread = cst.StarredDictElement(value)
        return cst.Dict([spread, *_elements(keys, " ")])
    present = {
        one.key.evaluated_value
        for one in value.elements
        if isinstance(one, cst.DictElement) and isinstance(one.key, cst.SimpleString)
    }
    added = {name: one for name, one in keys.items() if name not in present}
    if not value.elements:
        return _dict(added, indent)
    if not added:
        return value
    before = value.lbrace.whitespace_after
    if not isinstance(before, cst.ParenthesizedWhitespace):
        *others, last = value.elements
        last = last.with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
        return value.with_changes(elements=[*others, last, *_elements(added, " ")])
    *others, last = value.elements
    indent, rbrace = before.last_line.value, value.rbrace
    # What stands behind the last entry: a comment about it, and the way to the closing brace.
    behind = rbrace.whitespace_before
    if isinstance(last.comma, cst.Comma) and isinstance(
        last.comma.whitespace_after, cst.ParenthesizedWhitespace
    ):
        behind = last.comma.whitespace_after
    last = last.with_changes(comma=cst.Comma(whitespace_after=_reindented(behind, indent)))
    new = [
        one.with_changes(comma=cst.Comma(whitespace_after=_line(indent)))
        for one in _elements(added, None)
    ]
    new[-1] = new[-1].with_changes(comma=cst.Comma(whitespace_after=_without_comments(behind)))
    closed = cst.RightCurlyBrace(cst.SimpleWhitespace(""))
    return value.with_changes(elements=[*others, last, *new], rbrace=closed)


def _elements(keys: Mapping[str, object], space: str | None) -> list[cst.DictElement]:
    made = [
        cst.DictElement(cst.parse_expression(json.dumps(name)), cst.parse_expression(_text(value)))
        for name, value in keys.items()
    ]
    if space is not None:
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(space))
        made = [one.with_changes(comma=comma) for one in made[:-1]] + made[-1:]
    return made
