"""What the metadata of assets says of features, asked key by key before anything runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.constants import KEY_FEATURE, TAG_FEATURE
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.definitions.repository.collect import UnitKind
from metaxy_dagster.errors import FeatureError, MetaxyError
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.keys.columns import column_faults, doubtful_columns
from metaxy_dagster.keys.unread import stray_keys, unread_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.repository.collect import Asset
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["metadata_values"]


@partial(RepositoryRule, of_assets=True)
def metadata_values(bindings: Bindings, _: Draft) -> Iterator[MetaxyError | Notice]:
    """Everything that is wrong with the metadata of any asset, all of it at once."""
    scan, declared = bindings.scan, bindings.declared
    for key, asset in scan.assets.items():
        yield from _unread(asset)
        if asset.names_feature:
            yield from _value_faults(asset, declared.named.get(key), declared.graph)
        elif stray := stray_keys(asset.metadata):
            message = f"{', '.join(stray)} without {KEY_FEATURE}: the asset is left alone"
            yield Notice(NoticeKind.LEFT_ALONE, message, asset.name)
    for unit in scan.units:
        if unit.kind is UnitKind.OPAQUE:
            message = "its assets are not known before it is loaded, so none of them is tied"
            name = f"{type(unit.given).__name__} ({unit.label})"
            yield Notice(NoticeKind.LEFT_ALONE, message, name)


def _value_faults(
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
    parsed = asset.parsed
    # What is wrong with the feature's own key was said where features are declared.
    faults: list[MetaxyError] = [f for f in parsed.faults if not isinstance(f, FeatureError)]
    if not faults and feature is not None and feature in graph:
        declared = ClassColumns.of(graph.feature_class(feature))
        if declared.kinds:
            faults += column_faults(parsed.keys, graph[feature], declared, asset.name)
            for column, near in doubtful_columns(parsed.keys, graph[feature], declared):
                message = f"{column!r} is no column of the feature class: is {near!r} meant?"
                yield Notice(NoticeKind.PARTITIONS, message, asset.name)
    name = None if feature is None else str(feature)
    for fault in (*faults, *parsed.conflicts):
        yield fault.located(feature=name)


def _unread(asset: Asset) -> Iterator[MetaxyError | Notice]:
    """Keys that do nothing, and a tag that looks as if it did something."""
    partitioned = asset.spec.partitions_def is not None
    for found in unread_keys(asset.metadata, asset.name, partitioned=partitioned):
        yield Notice(NoticeKind.METADATA, found, asset.name) if isinstance(found, str) else found
    if TAG_FEATURE in asset.spec.tags and not asset.names_feature:
        message = (
            f'it has the tag "{TAG_FEATURE}", which ties it to nothing: set metadata '
            f'"{KEY_FEATURE}": "{asset.spec.tags[TAG_FEATURE]}" instead'
        )
        yield Notice(NoticeKind.METADATA, message, asset.name)
