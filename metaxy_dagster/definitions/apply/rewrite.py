"""One fused rewrite per object: specs, keys, inputs, checks and node in a single rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.apply.nodes import rewritten

if TYPE_CHECKING:
    import dagster as dg

    from metaxy_dagster.definitions._compat import NodeDefinition
    from metaxy_dagster.definitions.plan.plans import DefinitionPlan

__all__ = ["Rewriter"]


class Rewriter:
    """Turns planned definitions into new ones.

    Assets that share an op or a graph keep sharing it: a node is rewritten once and the result
    is handed to all of them.
    """

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._nodes: dict[int, NodeDefinition] = {}

    def rewrite(self, plan: DefinitionPlan) -> Any:
        """The new object for a planned one; the very same object when it is not touched.

        Asked again for the same unit, it gives the same new object.
        """
        if not plan.touched:
            return plan.unit.given
        if plan.unit.index not in self._made:
            self._made[plan.unit.index] = self._rewritten(plan)
        return self._made[plan.unit.index]

    def _rewritten(self, plan: DefinitionPlan) -> dg.AssetsDefinition | dg.AssetSpec:
        definition = plan.unit.definition
        if definition is None:
            return plan.assets[0].spec
        attributes = _compat.attributes_of(definition)
        keys = plan.keys
        attributes["specs"] = [asset.spec for asset in plan.assets]
        if plan.resources:
            attributes["resource_defs"] = dict(plan.resources)
        if plan.unit.executable:
            attributes["node_def"] = self._node(plan, definition.node_def)
            attributes["keys_by_input_name"] = dict(plan.input_keys)
            attributes["keys_by_output_name"] = {
                name: keys.get(key, key) for name, key in attributes["keys_by_output_name"].items()
            }
            attributes["selected_asset_keys"] = {
                keys.get(key, key) for key in attributes["selected_asset_keys"]
            }
            if plan.checks:
                attributes["check_specs_by_output_name"] = dict(plan.checks)
                renamed = {
                    spec.key: plan.checks[name].key
                    for name, spec in definition.node_check_specs_by_output_name.items()
                }
                attributes["selected_asset_check_keys"] = {
                    renamed[key] for key in attributes["selected_asset_check_keys"]
                }
        return _compat.rebuilt(definition, attributes)

    def _node(self, plan: DefinitionPlan, node: NodeDefinition) -> NodeDefinition:
        if not plan.node:
            return node
        made = self._nodes.get(id(plan.node))
        if made is None:
            made = self._nodes[id(plan.node)] = rewritten(node, plan.node)
        return made
