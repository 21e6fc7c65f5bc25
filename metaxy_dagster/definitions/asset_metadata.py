"""What the metadata of assets says of features, asked key by key before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import CHECKS_NONE, KEY_CHECKS, KEY_FEATURE
from metaxy_dagster.definitions.batching import batch_faults
from metaxy_dagster.definitions.collect import UnitKind
from metaxy_dagster.definitions.increments import unreturned_faults
from metaxy_dagster.definitions.metadata_keys import key_faults
from metaxy_dagster.definitions.plan import Notice, NoticeKind
from metaxy_dagster.definitions.validate import stray_keys
from metaxy_dagster.errors import DefinitionsError, MetaxyError
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.runtime.checks import check_names
from metaxy_dagster.runtime.feature_asset import FeatureAsset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.collect import Asset, Scan
    from metaxy_dagster.definitions.declare import Declared
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["metadata_faults", "planned", "value_faults"]


def metadata_faults(scan: Scan, declared: Declared) -> Iterator[MetaxyError | Notice]:
    """Everything that is wrong with the metadata of any asset, all of it at once.

    Args:
        scan: the repository.
        declared: the features and their assets.

    Yields:
        Errors and warnings, asset by asset.
    """
    for key, asset in scan.assets.items():
        yield from key_faults(asset)
        if KEY_FEATURE in asset.metadata:
            yield from value_faults(asset, declared.named.get(key), declared.graph)
        elif stray := stray_keys(asset):
            message = f"{', '.join(stray)} without {KEY_FEATURE}: the asset is left alone"
            yield Notice(NoticeKind.LEFT_ALONE, message, asset.name)
    for unit in scan.units:
        if unit.kind is UnitKind.OPAQUE:
            message = "its assets are not known before it is loaded, so none of them is tied"
            name = f"{type(unit.given).__name__} ({unit.label})"
            yield Notice(NoticeKind.LEFT_ALONE, message, name)


def value_faults(
    asset: Asset, feature: FeatureKey | None, graph: FeatureGraph
) -> Iterator[MetaxyError | Notice]:
    """Metadata keys of a feature asset that say what a run would refuse, or what looks misspelt.

    Args:
        asset: the asset.
        feature: its feature; None if what it names is no key of one.
        graph: the features.

    Yields:
        One error per bad value, and per column that does not fit the feature class; a warning per
        column that an open class does not name, where it names one that is nearly the same.
    """
    faults: list[MetaxyError] = [*FeatureAsset.faults(asset.key, asset.metadata)]
    try:
        check_names(asset.metadata.get(KEY_CHECKS, CHECKS_NONE))
    except MetaxyError as error:
        error.problem = f'metadata "{KEY_CHECKS}": {error.problem}'
        faults.append(error)
    if not faults and feature is not None and feature in graph:
        tied = FeatureAsset.required(asset.key, asset.metadata)
        declared = ClassColumns.of(graph.feature_class(feature))
        if declared.kinds:
            faults += tied.column_faults(graph[feature], declared)
            for column, near in tied.doubtful_columns(graph[feature], declared):
                message = f"{column!r} is no column of the feature class: is {near!r} meant?"
                yield Notice(NoticeKind.PARTITIONS, message, asset.name)
    for fault in faults:
        yield planned(fault, asset.name, feature)
    yield from batch_faults(asset, feature)
    yield from unreturned_faults(asset, feature)


def planned(fault: MetaxyError, asset: str, feature: FeatureKey | None) -> MetaxyError:
    """What a run would raise, as a fault of the definitions."""
    return DefinitionsError(
        fault.problem,
        asset=asset,
        feature=None if feature is None else str(feature),
        found=fault.found,
        allowed=fault.allowed,
        remedy=fault.remedy,
    )
