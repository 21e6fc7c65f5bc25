"""Which bodies are left out of runs in which nothing is pending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import INPUT_INCREMENT, KEY_INPUT
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.definitions.rules.routing import stored_by
from metaxy_dagster.runtime.work.skipping import is_skipping, why_body_always_runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from metaxy_dagster.definitions._compat import NodeDefinition
    from metaxy_dagster.definitions.repository.collect import Unit
    from metaxy_dagster.definitions.settings import MetaxifySettings
    from metaxy_dagster.features.keys import FeatureKey
    from metaxy_dagster.keys import AssetKeys

__all__ = ["BODY", "Body", "plan_body", "sole_op", "why_not_pending"]

#: What a change of a body is called.
BODY = "body"


@dataclass(frozen=True)
class Body:
    """What becomes of the function of one unit.

    Args:
        change: that it is left out from now on.
        notice: why it cannot be.
    """

    change: Change | None = None
    notice: Notice | None = None


def plan_body(
    unit: Unit,
    keys: AssetKeys,
    *,
    inputs: Mapping[str, FeatureKey],
    upstreams: AbstractSet[FeatureKey],
    settings: MetaxifySettings,
    routed: Mapping[str, str],
) -> Body:
    """Leave the body out while nothing is pending, where its results say that it may be.

    Args:
        unit: an asset, or several of one op.
        keys: what the metadata of the asset says.
        inputs: the features among its arguments, by their names.
        upstreams: the features that its own is computed from.
        settings: the policy.
        routed: output names and the IO managers that they are routed to.

    Returns:
        Nothing at all for what does not take increments, or is left out already.
    """
    if not settings.enable_skipping or not keys.takes_increment:
        return Body()
    if not unit.materializable or unit.definition is None:
        return Body()
    op = sole_op(unit.definition.node_def)
    if op is not None and is_skipping(op):
        return Body()
    why = why_not_pending(
        unit, inputs=inputs, upstreams=upstreams, settings=settings, routed=routed
    )
    if why is None:
        why = "it is a graph of several ops" if op is None else why_body_always_runs(op)
    if why is None:
        value = "left out while nothing is pending"
        return Body(Change(BODY, value, f"{KEY_INPUT} is {INPUT_INCREMENT}"))
    message = f"its body also runs while nothing is pending: {why}"
    return Body(notice=Notice(NoticeKind.BODY, message, unit.label))


def sole_op(node: NodeDefinition) -> dg.OpDefinition | None:
    """The op behind a node, through graphs that hold nothing else; None where there are more."""
    while isinstance(node, dg.GraphDefinition):
        if len(node.node_dict) != 1:
            return None
        node = next(iter(node.node_dict.values())).definition
    return node if isinstance(node, dg.OpDefinition) else None


def why_not_pending(
    unit: Unit,
    *,
    inputs: Mapping[str, FeatureKey],
    upstreams: AbstractSet[FeatureKey],
    settings: MetaxifySettings,
    routed: Mapping[str, str],
) -> str | None:
    """Why a body is not called with the pending samples of one feature alone; None if it is.

    Args:
        unit: an asset, or several of one op.
        inputs: the features among its arguments, by their names.
        upstreams: the features that its own is computed from.
        settings: the policy.
        routed: output names and the IO managers that they are routed to.
    """
    if len(unit.specs) != 1:
        return f"it computes {len(unit.specs)} assets"
    if stored_by(unit, unit.specs[0].key, routed) != settings.io_manager_key:
        return f"what it returns does not go through {settings.io_manager_key}"
    other = [name for name, feature in inputs.items() if feature not in upstreams]
    if other:
        return f"its argument {other[0]!r} is a feature that its own does not depend on"
    return None if inputs else "none of its arguments is an upstream feature"
