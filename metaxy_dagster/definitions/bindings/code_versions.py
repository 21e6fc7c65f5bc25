"""An asset's own Dagster code version is that of the fields of its feature that have none.

Dagster shows an asset as stale when its ``code_version`` changes, and as fresh after the next run:
so that run has to recompute its samples.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from metaxy_dagster.constants import KEY_INFO
from metaxy_dagster.definitions.bindings.translator import attributes_of_feature
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.errors import FeatureError, MetaxyError
from metaxy_dagster.features.text import check_name
from metaxy_dagster.features.versions import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from metaxy_dagster.definitions.bindings.declared import Declared
    from metaxy_dagster.definitions.repository.collect import Asset, Scan
    from metaxy_dagster.definitions.settings import MetaxifySettings
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["some_names", "with_asset_versions"]

_SHOWN: Final = 3


def with_asset_versions(
    scan: Scan, declared: Declared, settings: MetaxifySettings
) -> tuple[Declared, list[Notice]]:
    """The features with the code versions of their assets.

    Several assets of one feature that say the same count as one; where they differ, the fields'
    code version is made of all of them, each with the key of its asset.

    Args:
        scan: the repository.
        declared: the features and their assets; the graph is not changed.
        settings: the policy.

    Returns:
        The same with another graph, or the very same where no asset has a code version of its
        own; and what a person should know of it.
    """
    if not settings.enable_asset_code_versions:
        return declared, []
    by_feature: defaultdict[FeatureKey, dict[str, str]] = defaultdict(dict)
    for key, feature in declared.by_asset.items():
        version = _own_version(scan.assets[key], feature, declared.graph, settings)
        if version is not None:
            by_feature[feature][key.to_user_string()] = version
    versions = {feature: _combined(given) for feature, given in by_feature.items()}
    graph = declared.graph.with_code_versions(versions)
    made = (
        declared
        if graph is declared.graph
        else replace(declared, graph=graph, plain=declared.graph)
    )
    return made, list(_notices(scan, declared, by_feature, versions))


def _own_version(
    asset: Asset, feature: FeatureKey, graph: FeatureGraph, settings: MetaxifySettings
) -> str | None:
    """What the asset says itself, and not an earlier pass."""
    version = asset.spec.code_version
    if version is None:
        try:
            attributes = attributes_of_feature(graph[feature]) if settings.enable_attributes else {}
        except MetaxyError:
            return None  # said elsewhere
        return attributes.get("code_version")
    info = asset.metadata.get(KEY_INFO)
    injected = info.get("feature", {}).get("code_version") if isinstance(info, dict) else None
    return None if version == injected else version


def _combined(given: Mapping[str, str]) -> str:
    distinct = sorted(set(given.values()))
    if len(distinct) > 1:
        return digest(*(text for pair in sorted(given.items()) for text in pair))
    try:
        return check_name(distinct[0], "a code version", "2")
    except FeatureError:
        return digest(distinct[0])


def _notices(
    scan: Scan,
    declared: Declared,
    by_feature: Mapping[FeatureKey, Mapping[str, str]],
    versions: Mapping[FeatureKey, str],
) -> Iterator[Notice]:
    before = {key.to_user_string(): asset for key, asset in scan.assets.items()}
    fresh = {
        feature: given
        for feature, given in by_feature.items()
        if not all(KEY_INFO in before[name].metadata for name in given)  # told of already
    }
    taken: list[str] = []
    for feature, given in fresh.items():
        fields = declared.graph[feature].fields
        own = [field for field in fields if field.has_code_version]
        if any(field.code_version == versions[feature] for field in own):
            continue
        if len(own) == len(fields):
            for name, version in given.items():
                yield Notice(
                    NoticeKind.CODE_VERSION,
                    f"its code version {version!r} is not looked at: all fields of feature "
                    f"{feature} have code versions of their own",
                    name,
                )
            continue
        taken += given
        if len(set(given.values())) > 1:
            told = ", ".join(f"{name}: {version!r}" for name, version in given.items())
            yield Notice(
                NoticeKind.CODE_VERSION,
                f"the assets of feature {feature} have different code versions ({told}): a change "
                "of any of them recomputes the samples of all",
            )
    if taken:
        yield Notice(
            NoticeKind.CODE_VERSION,
            f"{_counted(taken)} a code version, which is that of all "
            "fields without one: a new one recomputes the samples, and so does the first run "
            "after rows were stored without it; enable_asset_code_versions=False leaves it out",
        )


def _counted(names: list[str]) -> str:
    return (
        f"asset {names[0]} has"
        if len(names) == 1
        else f"{len(names)} assets ({some_names(names)}) have"
    )


def some_names(names: list[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
