"""Assets of one op that are computed from each other."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.handling import Handling
    from metaxy_dagster.errors import MetaxyError

__all__ = ["internal_deps"]


@partial(RepositoryRule, of_assets=True)
def internal_deps(_: Bindings, draft: Draft) -> Iterator[MetaxyError]:
    """What Dagster refuses in every run: a result before that of an asset which it depends on.

    In the right order each is stored before it is looked up what the next one is computed from.
    """
    for each in draft.handled:
        if not each.above or _yields(each):
            continue
        places = _places(each)
        own = {dep.asset_key for dep in each.asset.spec.deps}
        mine = places.get(each.planned.key, 0)
        late = [one.key for one in each.above if places.get(one.key, 0) > mine]
        names = ", ".join(key.to_user_string() for key in late if key not in own)
        if names:
            yield each.fault(
                "it is computed from a feature of the same multi-asset, which returns that later",
                found=f"the outputs {', '.join(key.to_user_string() for key in places)}",
                allowed=f"{names} before {each.called}",
                remedy=f"have the function return {names} first, and name it first in outs; or "
                'leave it out of "metaxy/deps"',
            )


def _yields(each: Handling) -> bool:
    """Whether the function gives its results in an order of its own."""
    definition = each.plan.unit.definition
    if definition is None:
        return True
    functions = map(inspect.unwrap, _compat.functions_of(definition.node_def))
    return any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in functions)


def _places(each: Handling) -> Mapping[dg.AssetKey, int]:
    """The assets in the order in which they are returned."""
    definition = each.plan.unit.definition
    if definition is None:
        return {}
    keys = definition.node_keys_by_output_name
    names = [output.name for output in definition.node_def.output_defs]
    return {keys[name]: place for place, name in enumerate(names) if name in keys}
