"""What can be seen in a plan before it is carried out: circles and long chains."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import dagster as dg

    from metaxy_dagster.definitions.plan.plans import DefinitionPlan

__all__ = ["Chains", "chains"]


@dataclass(frozen=True)
class Chains:
    """How the assets hang together after the pass.

    Args:
        longest: the number of steps on the longest path of deps.
        circle: asset keys of a circle, first and last the same; empty when there is none.
    """

    longest: int
    circle: tuple[str, ...] = ()


def chains(definitions: Sequence[DefinitionPlan]) -> Chains:
    """Walk the planned deps once, from the roots down.

    Assets that always run together count as one: a dep that leaves their op and comes back to it
    could never be executed.
    """
    owner: dict[dg.AssetKey, object] = {}
    names: dict[object, str] = {}
    for each in definitions:
        for asset in each.assets:
            node: object = each.unit.index if each.unit.moves_as_one else asset.spec.key
            owner[asset.spec.key] = node
            names.setdefault(node, asset.spec.key.to_user_string())
    upstream: dict[object, dict[object, None]] = {node: {} for node in names}
    for each in definitions:
        for asset in each.assets:
            node = owner[asset.spec.key]
            for dep in asset.spec.deps:
                other = owner.get(dep.asset_key)
                if other is not None and other != node:
                    upstream[node][other] = None
    return _walk(upstream, names)


def _walk(upstream: Mapping[object, Iterable[object]], names: Mapping[object, str]) -> Chains:
    waiting = {node: len(list(nodes)) for node, nodes in upstream.items()}
    downstream: dict[object, list[object]] = {node: [] for node in upstream}
    for node, nodes in upstream.items():
        for other in nodes:
            downstream[other].append(node)
    depth = dict.fromkeys(upstream, 1)
    ready = deque(node for node, count in waiting.items() if not count)
    done = 0
    while ready:
        node = ready.popleft()
        done += 1
        for child in downstream[node]:
            depth[child] = max(depth[child], depth[node] + 1)
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    longest = max(depth.values(), default=0)
    if done == len(upstream):
        return Chains(longest)
    # Every node that is left has an upstream that is left: walking up must meet a circle.
    node = next(node for node, count in waiting.items() if count)
    path: dict[object, int] = {}
    while node not in path:
        path[node] = len(path)
        node = next(other for other in upstream[node] if waiting[other])
    circle = [each for each, place in path.items() if place >= path[node]]
    circle.reverse()
    return Chains(longest, tuple(names[each] for each in (*circle, circle[0])))
