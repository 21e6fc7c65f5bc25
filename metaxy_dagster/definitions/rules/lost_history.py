"""What is left behind under the old keys of assets that take those of their features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.loads import handler_of
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import manager_of, named_manager
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.plan.plans import AssetPlan, DefinitionPlan

__all__ = ["lost_history"]


@RepositoryRule
def lost_history(bindings: Bindings, draft: Draft) -> Iterator[Notice]:
    """What Dagster knows of them, and what IO managers find by the key of an asset."""
    if not bindings.renames:
        return
    names = sorted(key.to_user_string() for key in bindings.renames)
    parted = [
        key for key in bindings.renames if bindings.scan.assets[key].spec.partitions_def is not None
    ]
    yield Notice(
        NoticeKind.HISTORY,
        f"{len(names)} assets get another key ({', '.join(names[:3])}"
        + (", …" if len(names) > 3 else "")  # noqa: PLR2004 (a few names tell enough)
        + "): what Dagster knows of them, their materializations, partitions and checks, stays "
        "under the old ones, and they count as never materialized"
        + (f", {len(parted)} of them in each partition" if parted else "")
        + '; asset_keys="keep" leaves them their keys',
    )
    for plan in draft.definitions:
        for asset in plan.assets:
            if asset.key in bindings.renames:
                yield from _left_behind(bindings, plan, asset)


def _left_behind(bindings: Bindings, plan: DefinitionPlan, asset: AssetPlan) -> Iterator[Notice]:
    unit = plan.unit
    key = handler_of(plan, asset.key) if unit.materializable else named_manager(asset.spec)
    own = bindings.own(key or manager_of(unit, asset.spec), unit)
    if own is None or own.is_in_memory:
        return
    message = f"{own.name} finds it under its key, if it does as most: what is there already stays "
    message += (
        "under the old one, and runs before its next one miss it"
        if unit.materializable
        else "under the old one, and under the new one nobody puts anything"
    )
    yield Notice(NoticeKind.IO_MANAGER, message, asset.key.to_user_string())
