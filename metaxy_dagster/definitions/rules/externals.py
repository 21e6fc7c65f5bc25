"""External assets that have to exist for references to keep or find their meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.definitions.bindings.proposals import proposed_spec, translator_data
from metaxy_dagster.definitions.draft.findings import Added
from metaxy_dagster.definitions.draft.loads import lacks_an_asset
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Change
from metaxy_dagster.errors import MetaxyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["externals"]


@RepositoryRule
def externals(bindings: Bindings, draft: Draft) -> Iterator[Added | MetaxyError]:
    """Of keys that a change of groups would give to another asset, and of features to load."""
    for key in draft.references.captured:
        yield _external(dg.AssetSpec(key))
    request, declared = bindings.request, bindings.declared
    for key in draft.references.loaded:
        if not any(lacks_an_asset(plan, key) for plan in draft.definitions):
            continue
        feature = declared.by_own_key[key]
        try:
            data = translator_data(key, feature, declared, request.settings.project, {})
            proposed = proposed_spec(request.translator, data).replace_attributes(key=key, deps=[])
        except MetaxyError as error:
            yield error.located(feature=str(feature))
        else:
            yield _external(proposed.with_io_manager_key(request.settings.io_manager_key))


def _external(spec: dg.AssetSpec) -> Added:
    name = spec.key.to_user_string()
    return Added("externals", name, spec, Change("added", name, "a reference needs it"))
