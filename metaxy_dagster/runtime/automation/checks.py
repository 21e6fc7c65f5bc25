"""Asset checks of features: nothing pending, orphaned or failed, the schema, unique ids."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from metaxy_dagster import constants as c
from metaxy_dagster.keys import CHECK_NAMES, CheckName, check_names
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.assets.feature_asset import FeatureAsset
from metaxy_dagster.runtime.assets.unwritten import said_of, unwritten_upstreams
from metaxy_dagster.runtime.automation.pending import pending_counts
from metaxy_dagster.runtime.automation.schema_check import compare_schema
from metaxy_dagster.runtime.store_source import store_within
from metaxy_dagster.stores import Counts, MetadataStore, frames

__all__ = ["build_feature_checks", "feature_checks", "op_name"]


@dataclass(frozen=True)
class _Look:
    """One look at an asset's feature, for all of its checks."""

    store: MetadataStore
    asset: FeatureAsset
    context: dg.AssetCheckExecutionContext

    @cached_property
    def unwritten(self) -> list[str]:
        """What to say of upstreams that were never written here, though they are elsewhere."""
        step = self.context.op_execution_context.get_step_execution_context()
        found = unwritten_upstreams(
            self.store,
            [self.asset.feature],
            self.context.instance,
            lambda: _compat.neighbours(step),
        )
        return [said_of(asset, event) for asset, event in found]

    @cached_property
    def counts(self) -> Counts:
        """What is pending and orphaned, found out once."""
        return pending_counts(self.store, self.asset)


@dataclass(frozen=True)
class _Verdict:
    found: str
    metadata: Mapping[str, Any]
    passed: bool = True
    severity: dg.AssetCheckSeverity | None = None


_DESCRIPTIONS: Mapping[CheckName, str] = {
    "pending": "No sample waits to be computed.",
    "orphaned": "No sample is stored that nothing calls for any more.",
    "failed": "No sample failed without being computed since.",
    "schema": "The stored columns and their types are those that the feature declares.",
    "unique_ids": "No two samples have the same ids.",
}
# What a run can mend is a warning; what should never be is an error. Failed samples are an error
# once they are no longer tried.
_SEVERITIES: Mapping[CheckName, dg.AssetCheckSeverity] = {
    "pending": dg.AssetCheckSeverity.WARN,
    "orphaned": dg.AssetCheckSeverity.WARN,
    "failed": dg.AssetCheckSeverity.WARN,
    "schema": dg.AssetCheckSeverity.ERROR,
    "unique_ids": dg.AssetCheckSeverity.ERROR,
}


def build_feature_checks(
    assets: Sequence[dg.AssetSpec | dg.AssetsDefinition],
    *,
    names: Sequence[CheckName] = CHECK_NAMES,
    store_resource_key: str = c.RESOURCE_STORE,
) -> list[dg.AssetChecksDefinition]:
    """Make checks for the assets that are tied to features, one step per asset.

    Args:
        assets: definitions or specs; those without a feature are passed over.
        names: which of ``"pending"``, ``"orphaned"``, ``"failed"``, ``"schema"`` and
            ``"unique_ids"``.
        store_resource_key: the resource that is the store, or an IO manager that has it.

    Returns:
        One definition per asset, for ``dagster.Definitions(asset_checks=...)``.

    Raises:
        DefinitionsError: there is no check of that name.
        RunError: the metadata of an asset has a value that is not allowed.

    Example:
        >>> spec = dg.AssetSpec("faces", metadata={"metaxy/feature": "video/faces"})
        >>> (made,) = build_feature_checks([spec], names=["pending", "orphaned"])
        >>> sorted(check.name for check in made.check_specs)
        ['orphaned', 'pending']
    """
    chosen = check_names(names)
    found = {
        spec.key: asset
        for one in assets
        for spec in ([one] if isinstance(one, dg.AssetSpec) else one.specs)
        if (asset := FeatureAsset.of(spec.key, spec.metadata)) is not None
    }
    taken: set[str] = set()
    return [
        feature_checks(
            asset,
            {name: name for name in chosen},
            store_resource_key=store_resource_key,
            op_name=op_name(asset.asset_key, taken),
        )
        for asset in found.values()
    ]


def op_name(asset_key: dg.AssetKey, taken: set[str]) -> str:
    """A name for the op of an asset's checks that no other op has; it is added to ``taken``."""
    base = f"metaxy_check__{asset_key.to_python_identifier()}"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def feature_checks(
    asset: FeatureAsset,
    names: Mapping[str, CheckName],
    *,
    store_resource_key: str,
    op_name: str,
) -> dg.AssetChecksDefinition:
    """The checks of one asset, in one step.

    Args:
        asset: the asset.
        names: under which name each check goes.
        store_resource_key: the resource that is the store, or holds it.
        op_name: the name of the step.
    """
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=asset.asset_key,
            description=_DESCRIPTIONS[kind],
            metadata={c.KEY_CHECK: kind},
        )
        for name, kind in names.items()
    ]

    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        resources = context.op_execution_context.resources
        store = store_within(getattr(resources, store_resource_key), context.instance)
        # No asset key is written down here: the checks move along when the asset is renamed.
        look = _Look(store, asset, context)
        asked = {key.name for key in context.selected_asset_check_keys}
        for name, kind in names.items():
            if name in asked:
                verdict = _VERDICTS[kind](look)
                yield dg.AssetCheckResult(
                    passed=verdict.passed,
                    check_name=name,
                    severity=verdict.severity or _SEVERITIES[kind],
                    description=verdict.found,
                    metadata=verdict.metadata,
                )

    return _compat.asset_checks(
        specs, check, name=op_name, required_resource_keys={store_resource_key}
    )


def _pending(look: _Look) -> _Verdict:
    counts = look.counts
    waiting, metadata = counts.pending, {c.KEY_NEW: counts.new, c.KEY_STALE: counts.stale}
    found = _DESCRIPTIONS["pending"]
    if waiting:
        verb = "waits" if waiting == 1 else "wait"
        found = f"{_samples(waiting)} {verb} to be computed: {counts.new} new, "
        found += f"{counts.stale} stale."
    if counts.quarantined:
        metadata[c.KEY_QUARANTINED] = counts.quarantined
        verb = "is" if counts.quarantined == 1 else "are"
        found += f" {_samples(counts.quarantined)} {verb} not tried any more, after failures."
    if look.unwritten:
        found = " ".join([*look.unwritten, "What waits to be computed cannot be told."])
    return _Verdict(found, metadata, passed=not waiting and not look.unwritten)


def _samples(number: int) -> str:
    return f"{number or 'No'} {'samples' if number > 1 else 'sample'}"


def _orphaned(look: _Look) -> _Verdict:
    orphaned = look.counts.orphaned
    verb = "are" if orphaned > 1 else "is"
    found = f"{_samples(orphaned)} {verb} stored that nothing calls for any more."
    return _Verdict(found, {c.KEY_ORPHANED: orphaned}, passed=not orphaned)


def _failed(look: _Look) -> _Verdict:
    failed = look.store.failed(look.asset.feature)
    if not failed.failed:
        return _Verdict(_DESCRIPTIONS["failed"], {c.KEY_FAILED: 0})
    number = failed.failed
    found = f"{_samples(number)} failed and {'was' if number == 1 else 'were'} not computed since"
    if failed.quarantined:
        found += f"; {failed.quarantined} of them failed too often and will not be tried again"
    if failed.outdated:
        verb = "has the row" if failed.outdated == 1 else "have the rows"
        found += f"; {failed.outdated} still {verb} of an earlier computation"
    metadata = {
        c.KEY_FAILED: number,
        c.KEY_QUARANTINED: failed.quarantined,
        c.KEY_OUTDATED: failed.outdated,
    }
    severity = dg.AssetCheckSeverity.ERROR if failed.quarantined else None
    return _Verdict(f"{found}.", metadata, passed=False, severity=severity)


def _schema(look: _Look) -> _Verdict:
    passed, found, metadata = compare_schema(look.store, look.asset.feature)
    return _Verdict(found, metadata, passed=passed)


def _unique_ids(look: _Look) -> _Verdict:
    store, feature = look.store, look.asset.feature
    ids = list(store.graph[feature].id_columns)
    if not store.schema(feature):
        return _Verdict("Nothing was written yet.", {c.KEY_ROW_COUNT: 0})
    frame = store.read(feature, columns=ids)
    rows, distinct = frames.length(frame), frames.length(frame.unique())
    doubled = rows - distinct
    found = (
        f"{doubled} of {rows} samples have the ids of another."
        if doubled
        else _DESCRIPTIONS["unique_ids"]
    )
    return _Verdict(found, {c.KEY_ROW_COUNT: rows, "duplicates": doubled}, passed=not doubled)


_VERDICTS: Mapping[CheckName, Callable[[_Look], _Verdict]] = {
    "pending": _pending,
    "orphaned": _orphaned,
    "failed": _failed,
    "schema": _schema,
    "unique_ids": _unique_ids,
}
