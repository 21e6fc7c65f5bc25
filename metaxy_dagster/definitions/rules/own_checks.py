"""The checks inside of a unit, by the new keys of the assets that they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import UnitRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import UnitDraft
    from metaxy_dagster.definitions.draft.findings import Found

__all__ = ["own_checks"]


@UnitRule
def own_checks(_: Bindings, draft: UnitDraft) -> Iterable[Found]:
    """Check specs with replaced keys; they are rebuilt with the unit, and nothing is said."""
    definition = draft.unit.definition
    if definition is not None and draft.unit.executable:
        keys = {old: new[0] for old, new in draft.deps.replaced.items()}
        before = definition.node_check_specs_by_output_name
        checks = {name: _compat.check_with_keys(check, keys) for name, check in before.items()}
        if any(checks[name] is not check for name, check in before.items()):
            draft.checks = checks
    return ()
