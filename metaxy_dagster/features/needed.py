"""The columns by which other features find the samples of one."""

from __future__ import annotations

from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.features.keys import FeatureKey

__all__ = ["needed_columns"]


def needed_columns(graph: FeatureGraph, key: FeatureKey) -> tuple[str, ...]:
    """What lineage, filters and selections of the features downstream ask of a feature.

    Args:
        graph: the features.
        key: one of them.

    Returns:
        Names of columns, by the names that the feature has for them, in alphabetical order.

    Example:
        >>> from metaxy_dagster.features import FeatureDep, FeatureSpec, LineageRelationship
        >>> graph = FeatureGraph()
        >>> _ = graph.add(FeatureSpec("frame", id_columns=["frame"]))
        >>> by_video = LineageRelationship.aggregation(on=["video"])
        >>> dep = FeatureDep("frame", lineage=by_video, filters="sharpness > 0.5")
        >>> _ = graph.add(FeatureSpec("video", id_columns=["video"], deps=[dep]))
        >>> needed_columns(graph, FeatureKey("frame"))
        ('frame', 'sharpness', 'video')
    """
    found = set(graph[key].id_columns)
    for each in graph:
        for dep in graph[each].deps:
            if dep.feature != key:
                continue
            here = {*(dep.lineage.on or ()), *(dep.select or ())}
            here |= {name for one in dep.filters for name in one.columns}
            found |= set(map(dep.name_upstream, here))
    return tuple(sorted(found))
