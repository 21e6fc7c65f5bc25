"""Keys that live in code: nobody can rewrite them, so a rename warns of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FunctionType

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["hardcoded"]

#: A function that uses one of these may name assets when it runs.
_MAKERS: Final = frozenset(
    {
        *("AssetCheckKey", "AssetCheckResult", "AssetKey", "AssetMaterialization"),
        *("AssetObservation", "AssetRecordsFilter", "AssetSelection", "EventRecordsFilter"),
        *("MaterializeResult", "ObserveResult", "RunRequest", "asset_selection"),
        *("fetch_materializations", "fetch_observations", "get_asset_records"),
        *("get_latest_materialization_event", "get_latest_materialization_events"),
        *("get_materialized_partitions", "load_asset_value", "report_runless_asset_event"),
    }
)


@RepositoryRule
def hardcoded(bindings: Bindings, _: Draft) -> Iterator[Notice]:
    """Renamed keys that functions or automation conditions seem to name.

    One warning per place; a string that only looks like a key is warned of as well. Functions are
    those of assets, schedules and sensors, with what they call in the same package.
    """
    scan, renames = bindings.scan, bindings.renames
    if not renames:
        return
    # A key may be written whole, or as the list of its parts.
    texts = {key.to_user_string(): key for key in renames} | {key.path[-1]: key for key in renames}
    for unit in scan.units:
        if unit.definition is not None and unit.executable:
            functions = _compat.functions_of(unit.definition.node_def)
            found = _named(functions, texts)
            if found:
                message = f"{_says('its code', found)}: results under the old key fail or are lost"
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
    for kind in ("schedule", "sensor"):
        for each in scan.fields[f"{kind}s"] or ():
            found = _named(_compat.functions_of_automation(each), texts)
            if found:
                message = (
                    f"{_says(f'the code of {kind} {each.name!r}', found)}: what it asks of the old "
                    "key comes back empty, and what it requests of it is not run"
                )
                yield Notice(NoticeKind.RENAME, message)


def _says(what: str, found: Iterable[str]) -> str:
    return f"{what} seems to name {', '.join(sorted(found))}, a key that is renamed"


def _named(functions: Iterable[FunctionType], texts: Mapping[str, dg.AssetKey]) -> set[str]:
    """What functions say of these texts and keys, if they do anything with assets."""
    words, found = set[str](), set[str]()
    keys = {key: text for text, key in texts.items()}
    for function in _compat.called_by(functions):
        words |= _compat.words_of(function)
        for each in _compat.constants_of(function):
            if isinstance(each, dg.AssetKey) and each in keys:
                found.add(each.to_user_string())
                words.add("AssetKey")
            elif isinstance(each, str) and each in texts:
                found.add(each)
    return found if words & _MAKERS else set()


def _mentions(condition: str, key: dg.AssetKey) -> bool:
    return repr(key) in condition or f"'{key.to_user_string()}'" in condition
