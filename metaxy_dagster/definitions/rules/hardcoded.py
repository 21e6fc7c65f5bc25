"""Keys that live in code: nobody can rewrite them, so a rename warns of them."""

from __future__ import annotations

import inspect
from types import CodeType
from typing import TYPE_CHECKING, Final

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["hardcoded"]

#: A function that uses one of these may name assets when it runs.
_MAKERS: Final = frozenset(
    {
        "AssetCheckResult",
        "AssetKey",
        "AssetMaterialization",
        "AssetObservation",
        "MaterializeResult",
        "ObserveResult",
    }
)


@RepositoryRule
def hardcoded(bindings: Bindings, _: Draft) -> Iterator[Notice]:
    """Renamed keys that function bodies or automation conditions seem to name.

    One warning per place; a string that only looks like a key is warned of as well.
    """
    scan, renames = bindings.scan, bindings.renames
    if not renames:
        return
    # A key may be written whole, or as the list of its parts.
    texts = {key.to_user_string(): key for key in renames} | {key.path[-1]: key for key in renames}
    for unit in scan.units:
        if unit.definition is not None and unit.executable:
            for function in _compat.functions_of(unit.definition.node_def):
                found = _named(inspect.unwrap(function).__code__, texts.keys())
                if found:
                    message = (
                        f"its code seems to name {', '.join(sorted(found))}, a key that is "
                        "renamed: results under the old key fail the run or are lost"
                    )
                    yield Notice(NoticeKind.RENAME, message, unit.label)
        for spec in unit.specs:
            condition = repr(spec.automation_condition) if spec.automation_condition else ""
            old = [key for key in renames if condition and _mentions(condition, key)]
            if old:
                message = (
                    f"its automation condition names {', '.join(k.to_user_string() for k in old)},"
                    " a key that is renamed: write the new key"
                )
                yield Notice(NoticeKind.RENAME, message, spec.key.to_user_string())


def _named(code: CodeType, texts: AbstractSet[str]) -> set[str]:
    """The texts among the constants of a function that makes asset events."""
    waiting, constants, names = [code], set[str](), set[str]()
    while waiting:
        current = waiting.pop()
        names.update(current.co_names)
        constants.update(_strings(current.co_consts))
        waiting += [each for each in current.co_consts if isinstance(each, CodeType)]
    return constants & texts if names & _MAKERS else set()


def _strings(constants: Iterable[object]) -> Iterator[str]:
    for each in constants:
        if isinstance(each, str):
            yield each
        elif isinstance(each, tuple):
            yield from _strings(each)


def _mentions(condition: str, key: dg.AssetKey) -> bool:
    return repr(key) in condition or f"'{key.to_user_string()}'" in condition
