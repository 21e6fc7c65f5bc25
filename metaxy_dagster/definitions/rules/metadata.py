"""The metadata of a feature: filled in, never over what the user set on the asset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import KEY_COLUMN_LINEAGE, KEY_FEATURE, KEY_INFO
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft

__all__ = ["metadata"]

#: Metadata that the pass itself writes; it follows the feature, not an earlier pass.
_OURS: Final = (KEY_FEATURE, KEY_INFO)


@AssetRule
def metadata(_: Bindings, asset: TiedDraft) -> Iterator[Fill]:
    """What the asset's own metadata lacks; collections are put together."""
    mine, theirs = asset.spec.metadata, asset.proposed.metadata
    merged = dict(mine)
    changed: list[str] = []
    for key, value in theirs.items():
        result = value if key not in mine or key in _OURS else _merged(key, mine[key], value)
        if key not in mine or not _same(result, mine[key]):
            merged[key] = result
            changed.append(key)
    if changed:
        change = Change("metadata", ", ".join(changed), asset.why)
        yield Fill(asset, "metadata", merged, (change,))


def _merged(key: str, mine: Any, theirs: Any) -> Any:
    """The user's value; for collections together with what the feature adds to it."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return {**theirs, **mine}
    if isinstance(mine, list) and isinstance(theirs, list | tuple):
        return [*mine, *(each for each in theirs if each not in mine)]
    if key == KEY_COLUMN_LINEAGE:
        lineage, more = _lineage(mine), _lineage(theirs)
        if lineage is not None and more is not None:
            added = {
                k: v for k, v in more.deps_by_column.items() if k not in lineage.deps_by_column
            }
            if added:
                return dg.TableColumnLineage({**lineage.deps_by_column, **added})
    return mine


def _lineage(value: object) -> dg.TableColumnLineage | None:
    value = getattr(value, "column_lineage", value)
    return value if isinstance(value, dg.TableColumnLineage) else None


def _same(left: object, right: object) -> bool:
    """Equality that never raises: metadata may hold anything, arrays for one."""
    if left is right:
        return True
    return type(left) is type(right) and bool(left == right)
