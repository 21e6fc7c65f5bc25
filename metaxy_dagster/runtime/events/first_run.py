"""What the pass changed of an asset, told in the first event after it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import dagster as dg

from metaxy_dagster.constants import KEY_CHANGES, KEY_STORE
from metaxy_dagster.runtime.calling import known_instance

if TYPE_CHECKING:
    from dagster import OutputContext

    from metaxy_dagster.features import FeatureGraph

__all__ = ["note_changes", "told_at_first"]

#: By the features that a store knows: a process that loads the definitions has noted what runs.
_NOTED: Final[WeakKeyDictionary[FeatureGraph, dict[dg.AssetKey, tuple[str, ...]]]] = (
    WeakKeyDictionary()
)
_LOCK: Final = threading.Lock()


def note_changes(graph: FeatureGraph, changes: Mapping[dg.AssetKey, Sequence[str]]) -> None:
    """Remember what is to be told of assets.

    Args:
        graph: the features of the store that the assets are stored in.
        changes: by asset, lines on what a pass changed and warns of.
    """
    with _LOCK:
        _NOTED.setdefault(graph, {}).update({key: tuple(each) for key, each in changes.items()})


def told_at_first(context: OutputContext, graph: FeatureGraph) -> dict[str, Any]:
    """Log what was changed of an asset, if this is its first run since.

    Args:
        context: of an output of the asset.
        graph: the features of the store.

    Returns:
        Metadata of the event that say the same; none in later runs.
    """
    lines, instance = _NOTED.get(graph, {}).get(context.asset_key, ()), known_instance(context)
    if not lines or instance is None:
        return {}
    last = instance.get_latest_materialization_event(context.asset_key)
    known = None if last is None else last.asset_materialization
    if known is not None and KEY_STORE in known.metadata:
        return {}
    for line in lines:
        context.log.info("since it was changed by metaxify_definitions: %s", line)
    return {KEY_CHANGES: dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))}
