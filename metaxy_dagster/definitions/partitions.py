"""Whether partitions and columns fit together, asked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaxy_dagster.constants import CHECKS_NONE, KEY_CHECKS
from metaxy_dagster.definitions.plan import Notice, NoticeKind
from metaxy_dagster.definitions.routing import stored_by
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.runtime.checks import check_names
from metaxy_dagster.runtime.feature_asset import FeatureAsset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from metaxy_dagster.definitions.collect import Asset
    from metaxy_dagster.definitions.plan import DefinitionPlan
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["metadata_faults", "partition_faults"]


def metadata_faults(
    asset: Asset, feature: FeatureKey, graph: FeatureGraph
) -> Iterator[MetaxyError | Notice]:
    """Metadata keys of a feature asset that say what a run would refuse, or what looks misspelt.

    Args:
        asset: the asset.
        feature: its feature.
        graph: the features.

    Yields:
        One error per bad value, and per column that does not fit the feature class; a warning per
        column that an open class does not name, where it names one that is nearly the same.
    """
    faults: list[MetaxyError] = [*FeatureAsset.faults(asset.key, asset.metadata)]
    try:
        check_names(asset.metadata.get(KEY_CHECKS, CHECKS_NONE))
    except MetaxyError as error:
        faults.append(error)
    if not faults and (tied := FeatureAsset.of(asset.key, asset.metadata)) is not None:
        declared = ClassColumns.of(graph.feature_class(feature))
        if declared.kinds:
            faults += tied.column_faults(graph[feature], declared)
            for column, near in tied.doubtful_columns(graph[feature], declared):
                message = f"{column!r} is no column of the feature class: is {near!r} meant?"
                yield Notice(NoticeKind.PARTITIONS, message, asset.name)
    for fault in faults:
        yield _planned(fault, asset.name, feature)


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
            metadata = assets[each.key].metadata
            if FeatureAsset.faults(each.key, metadata):
                continue  # said already
            fault = FeatureAsset.required(each.key, metadata).partitions_fault(definition)
            if fault is None:
                continue
            routed = plan.node.io_manager_keys if plan.node is not None else {}
            if stored_by(plan.unit, each.key, routed) == io_manager_key:
                yield _planned(fault, each.key.to_user_string(), each.feature)
                continue
            message = (
                f"{fault.problem}, so it can be loaded, reported and counted as a whole only: "
                f"{fault.remedy}"
            )
            yield Notice(NoticeKind.PARTITIONS, message, each.key.to_user_string())


def _planned(fault: MetaxyError, asset: str, feature: FeatureKey) -> MetaxyError:
    """What a run would raise, as a fault of the definitions."""
    return DefinitionsError(
        fault.problem,
        asset=asset,
        feature=str(feature),
        found=fault.found,
        allowed=fault.allowed,
        remedy=fault.remedy,
    )
