"""Whether partitions and columns fit together, asked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.rules.routing import stored_by
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from metaxy_dagster.definitions.plan.plans import DefinitionPlan
    from metaxy_dagster.definitions.repository.collect import Asset
    from metaxy_dagster.errors import MetaxyError

__all__ = ["partition_faults"]


def partition_faults(
    definitions: Sequence[DefinitionPlan], assets: Mapping[Any, Asset], io_manager_key: str
) -> Iterator[MetaxyError | Notice]:
    """Partitioned feature assets of which nothing says which samples a partition has.

    Args:
        definitions: the planned units.
        assets: the assets as the user wrote them.
        io_manager_key: the IO manager that would refuse to run them.

    Yields:
        An error where a run would fail; a warning where only some uses of the asset would.
    """
    for plan in definitions:
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
            if stored_by(plan.unit, each.key, routed) == io_manager_key:
                yield fault
                continue
            message = (
                f"{fault.problem}, so it can be loaded, reported and counted as a whole only: "
                f"{fault.remedy}"
            )
            yield Notice(NoticeKind.PARTITIONS, message, each.key.to_user_string())
