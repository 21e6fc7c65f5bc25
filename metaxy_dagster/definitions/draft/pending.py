"""Whether a body is called with the pending samples of one feature, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions.draft.storage import stored_by

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["feature_inputs", "incremental", "why_not_pending"]


def incremental(draft: UnitDraft) -> TiedDraft:
    """The first asset of a unit that takes an increment; the first tied one if there is none."""
    return next((each for each in draft.tied if each.asset.keys.takes_increment), draft.tied[0])


def why_not_pending(bindings: Bindings, draft: UnitDraft) -> str | None:
    """Why a body is not called with the pending samples of one feature alone; None if it is.

    Args:
        bindings: the repository and its features.
        draft: an asset, or several of one op; its outputs are routed by now.
    """
    unit = draft.unit
    if len(unit.specs) != 1:
        return f"it computes {len(unit.specs)} assets"
    if not bindings.knows_features(stored_by(unit, unit.specs[0].key, draft.routed), unit):
        return f"what it returns does not go through {bindings.settings.io_manager_key}"
    upstreams = bindings.upstreams[incremental(draft).spec.key]
    inputs = feature_inputs(bindings, draft, upstreams)
    other = [name for name, feature in inputs.items() if feature not in upstreams]
    if other:
        return f"its argument {other[0]!r} is a feature that its own does not depend on"
    asks = draft.own_body is not None and draft.own_body.returns
    return None if inputs or asks else "none of its arguments is an upstream feature"


def feature_inputs(
    bindings: Bindings, draft: UnitDraft, upstreams: AbstractSet[FeatureKey]
) -> Mapping[str, FeatureKey]:
    """The features among the arguments, by their names.

    Args:
        bindings: the repository and its features.
        draft: the unit that takes the arguments.
        upstreams: features that may be named by their own keys.
    """
    inputs: dict[str, FeatureKey] = {}
    for name, bound in draft.inputs.items():
        if name in draft.unit.arguments:
            key = draft.deps.relative.get(bound, bound)
            feature = _feature_at(bindings, key, upstreams)
            if feature is not None:
                inputs[name] = feature
    return inputs


def _feature_at(
    bindings: Bindings, key: dg.AssetKey, upstreams: AbstractSet[FeatureKey]
) -> FeatureKey | None:
    """The feature of the asset that is going to have a key; or whose own key it is."""
    asset = bindings.assets_by_new_key.get(key)
    if asset is not None:
        data = bindings.data.get(asset.key)
        return None if data is None else data.spec.key
    return next((each for each in upstreams if each.parts == tuple(key.path)), None)
