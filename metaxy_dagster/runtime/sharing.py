"""One object for equal settings, whichever pass asks for it.

``Definitions.merge`` takes two resources of one name for the same only if they are the same object.
So passes over parts of a code location that store in the same place are given one store, one IO
manager, and one graph that knows the features of all of them. Passes under another current graph,
``with FeatureGraph().use():``, share nothing with these.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from metaxy_dagster.features import FeatureGraph

__all__ = ["bound_once", "made_once", "name_apart"]

#: So many places are remembered; merging parts that were passed longer ago is refused by Dagster.
_REMEMBERED: Final = 64


@dataclass(eq=False)
class _Place:
    """A place where features are stored, and what passes were given for it."""

    given: object  # kept, since its identity may be its key
    graph: FeatureGraph
    bound: Any
    made: dict[Hashable, Any] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=dict)


_Places: TypeAlias = OrderedDict[Hashable, _Place]
_BY_GRAPH: WeakKeyDictionary[FeatureGraph, _Places] = WeakKeyDictionary()
_LOCK: Final = threading.Lock()
_NO_NAME: Final = re.compile(r"\W", re.ASCII)


def bound_once(
    given: Any,
    settings: Hashable,
    own: FeatureGraph | None,
    graph: FeatureGraph,
    bind: Callable[[FeatureGraph], Any],
) -> Any:
    """A resource that knows some features, the same one as for an earlier pass where that can be.

    Args:
        given: the resource.
        settings: what two resources have in common that may be one.
        own: the features that it has.
        graph: the features to be known.
        bind: makes it for other features.

    Returns:
        ``given`` itself if it has features that no pass gave it, or those of this pass already.
    """
    with _LOCK:
        places = _BY_GRAPH.setdefault(FeatureGraph.current(), OrderedDict())
        if own is not None:
            known = next((one for one in places.values() if one.graph is own), None)
            if known is None or own.absorb(graph):
                return given
        place = places.get(settings)
        if place is None or not place.graph.absorb(graph):
            mine = graph.copy()
            place = places[settings] = _Place(given, mine, bind(mine))
        places.move_to_end(settings)
        while len(places) > _REMEMBERED:
            places.popitem(last=False)
        return place.bound


def made_once(store: object, settings: Hashable, make: Callable[[], Any]) -> Any:
    """What is made around a store, the same one as for an earlier pass with equal settings.

    Args:
        store: the store, from :func:`bound_once`.
        settings: what two of these have in common that may be one.
        make: makes one.
    """
    with _LOCK:
        place = _place_of(store)
        if place is None:
            return make()
        if settings not in place.made:
            place.made[settings] = make()
        return place.made[settings]


def name_apart(store: object, name: str, assets: Iterable[str]) -> str:
    """A name for what a pass makes for some assets, which no other pass over others has.

    Args:
        store: the store, from :func:`bound_once`.
        name: what it is called where no pass over other assets of the store has one like it.
        assets: the assets that it is for.

    Returns:
        The name, with that of the first asset behind it where the name is taken by another pass;
        the same again for a pass over some of the same assets.
    """
    mine = frozenset(assets)
    with _LOCK:
        place = _place_of(store)
        if place is None or not mine:
            return name
        own = [n for n, known in place.names.items() if n.startswith(name) and known & mine]
        chosen = next(iter(own), name)
        if not own and name in place.names:
            chosen = f"{name}_{_NO_NAME.sub('_', min(mine))}"
        place.names[chosen] = place.names.get(chosen, frozenset()) | mine
        return chosen


def _place_of(store: object) -> _Place | None:
    places: _Places = _BY_GRAPH.get(FeatureGraph.current(), OrderedDict())
    return next((one for one in places.values() if one.bound is store), None)
