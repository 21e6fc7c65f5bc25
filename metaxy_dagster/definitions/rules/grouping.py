"""Whether upstreams have the columns that a feature groups them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.constants import KEY_COLUMN_SCHEMA
from metaxy_dagster.definitions.draft.rule import AssetRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features.columns import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.drafts import TiedDraft
    from metaxy_dagster.errors import MetaxyError
    from metaxy_dagster.features.plan import DepPlan, FeaturePlan

__all__ = ["grouping"]


@AssetRule
def grouping(bindings: Bindings, tied: TiedDraft) -> Iterator[MetaxyError | Notice]:
    """Columns to group by that an upstream does not have, as far as its columns are known.

    A fault where the upstream can have no such column; a warning where it is declared without it,
    but may return more than it declares.
    """
    plan, asset = tied.data.plan, tied.asset.name
    for dep in plan.deps:
        ids = set(map(fold, dep.upstream.id_columns))
        missing = [there for there in dep.source_columns.values() if fold(there) not in ids]
        if dep.lineage_type != "aggregation" or not missing:
            continue
        known, closed = _columns(dep, bindings)
        lacking = [name for name in missing if fold(name) not in set(map(fold, known))]
        if not lacking:
            continue
        names = ", ".join(map(repr, lacking))
        if known and closed:
            yield DefinitionsError(
                f"upstream {str(dep.upstream.key)!r} has no column to group by",
                asset=asset,
                feature=str(plan.key),
                found=f"no column {names}",
                allowed=", ".join(sorted(known)),
                remedy="declare the column upstream, group by another one "
                '("lineage": {"type": "aggregation", "on": [...]}), or rename one with "rename"',
            )
        elif known or _elsewhere(dep, lacking, plan):
            message = (
                f"it groups {str(dep.upstream.key)!r} by {names}, which that feature does not "
                "declare: what is returned for it has to have this column, or every run is refused"
            )
            yield Notice(NoticeKind.METADATA, message, asset)


def _columns(dep: DepPlan, bindings: Bindings) -> tuple[list[str], bool]:
    """The columns that an upstream is known to have, and whether it can have no others."""
    declared, assets = bindings.declared, bindings.scan.assets
    cls = declared.graph.feature_class(dep.upstream.key)
    fields = getattr(cls, "model_fields", {})
    known = [info.alias or name for name, info in fields.items()]
    for key in declared.carriers.get(dep.upstream.key, ()):
        schema = assets[key].spec.metadata.get(KEY_COLUMN_SCHEMA)
        schema = getattr(schema, "schema", schema)
        known += [column.name for column in getattr(schema, "columns", ())]
    closed = getattr(cls, "model_config", {}).get("extra") == "forbid"
    return ([*known, *dep.upstream.id_columns] if known else []), closed


def _elsewhere(dep: DepPlan, lacking: list[str], plan: FeaturePlan) -> bool:
    """Whether another upstream has these columns among its ids, so that one seems forgotten."""
    return any(
        fold(name) in set(map(fold, other.upstream.id_columns))
        for other in plan.deps
        if other is not dep
        for name in lacking
    )
