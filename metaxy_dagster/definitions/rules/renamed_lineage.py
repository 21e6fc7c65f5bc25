"""Column lineage by the new keys of the assets that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.constants import KEY_COLUMN_LINEAGE
from metaxy_dagster.definitions.draft.findings import Fill
from metaxy_dagster.definitions.draft.rule import UnitRule
from metaxy_dagster.definitions.plan.plans import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import UnitDraft

__all__ = ["renamed_lineage"]


@UnitRule
def renamed_lineage(bindings: Bindings, draft: UnitDraft) -> Iterator[Fill]:
    """What an asset's column lineage says, where assets are renamed."""
    renames = bindings.renames
    if not renames:
        return
    for asset in draft.assets:
        value = asset.metadata.get(KEY_COLUMN_LINEAGE)
        lineage = getattr(value, "column_lineage", value)
        if not isinstance(lineage, dg.TableColumnLineage):
            continue
        renamed = {
            column: [
                dg.TableColumnDep(
                    asset_key=renames.get(dep.asset_key, dep.asset_key),
                    column_name=dep.column_name,
                )
                for dep in deps
            ]
            for column, deps in lineage.deps_by_column.items()
        }
        if renamed != {column: list(deps) for column, deps in lineage.deps_by_column.items()}:
            made = {**asset.metadata, KEY_COLUMN_LINEAGE: dg.TableColumnLineage(renamed)}
            change = Change("reference", KEY_COLUMN_LINEAGE, "renamed assets")
            yield Fill(asset, "metadata", made, (change,))
