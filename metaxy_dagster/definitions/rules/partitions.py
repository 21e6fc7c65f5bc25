"""Whether partitions and columns fit together, asked before anything runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import stored_by
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError

__all__ = ["partitions"]


@partial(RepositoryRule, of_assets=True)
def partitions(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """Partitioned feature assets of which nothing says which samples a partition has.

    A fault where a run would fail; a warning where only some uses of the asset would.
    """
    if not draft.stored.ours:
        return
    assets = bindings.scan.assets
    for plan in draft.definitions:
        for each in plan.assets:
            definition = each.spec.partitions_def
            if each.feature is None or definition is None:
                continue
            parsed = assets[each.key].parsed
            tied = FeatureAsset(each.key, each.feature, parsed.keys)
            fault = None if parsed.faults else tied.partitions_fault(definition)
            if fault is None:
                continue
            routed = plan.node.io_manager_keys if plan.node is not None else {}
            if bindings.knows_features(stored_by(plan.unit, each.key, routed), plan.unit):
                yield fault
                continue
            message = (
                f"{fault.problem}, so it can be loaded, reported and counted as a whole only: "
                f"{fault.remedy}"
            )
            yield Notice(NoticeKind.PARTITIONS, message, each.key.to_user_string())
