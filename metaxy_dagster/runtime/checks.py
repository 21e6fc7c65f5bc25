"""Asset checks of features: nothing pending, nothing orphaned, the schema, unique ids."""

# Annotations are not postponed here: Dagster reads that of the context when an op is made.

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import dagster as dg
import narwhals as nw

from metaxy_dagster import constants as c
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features import FeatureKey, declared_feature
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime.report import opened_store
from metaxy_dagster.stores import MetadataStore

__all__ = ["CheckName", "build_feature_checks"]

CheckName: TypeAlias = Literal["pending", "orphaned", "schema", "unique_ids"]
_NAMES: tuple[CheckName, ...] = get_args(CheckName)
_Verdict: TypeAlias = tuple[bool, Mapping[str, Any]]

_DESCRIPTIONS: Mapping[CheckName, str] = {
    "pending": "No sample waits to be computed.",
    "orphaned": "No sample is stored that nothing calls for any more.",
    "schema": "The stored columns are those that the feature declares.",
    "unique_ids": "No two samples have the same ids.",
}
# What a run can mend is a warning; what should never be is an error.
_SEVERITIES: Mapping[CheckName, dg.AssetCheckSeverity] = {
    "pending": dg.AssetCheckSeverity.WARN,
    "orphaned": dg.AssetCheckSeverity.WARN,
    "schema": dg.AssetCheckSeverity.ERROR,
    "unique_ids": dg.AssetCheckSeverity.ERROR,
}


def build_feature_checks(
    assets: Sequence[dg.AssetSpec | dg.AssetsDefinition],
    *,
    names: Sequence[CheckName] = _NAMES,
    store_resource_key: str = c.RESOURCE_STORE,
) -> list[dg.AssetChecksDefinition]:
    """Make checks for the assets that are tied to features, one step per asset.

    Args:
        assets: definitions or specs; those without a feature are passed over.
        names: which of ``"pending"``, ``"orphaned"``, ``"schema"`` and ``"unique_ids"``.
        store_resource_key: the resource that holds the store.

    Returns:
        One definition per asset, for ``dagster.Definitions(asset_checks=...)``.

    Raises:
        DefinitionsError: there is no check of that name.

    Example:
        >>> spec = dg.AssetSpec("faces", metadata={"metaxy/feature": "video/faces"})
        >>> (made,) = build_feature_checks([spec], names=["pending", "orphaned"])
        >>> sorted(check.name for check in made.check_specs)
        ['orphaned', 'pending']
    """
    unknown = [name for name in names if name not in _NAMES]
    if unknown or not names:
        raise DefinitionsError(
            "no such check of a feature",
            found=unknown or "an empty list",
            allowed=list(_NAMES),
            remedy="name one or more of these",
        )
    specs = [
        spec for one in assets for spec in ([one] if isinstance(one, dg.AssetSpec) else one.specs)
    ]
    found = {spec.key: declared_feature(spec.metadata) for spec in specs}
    return [
        _checks(key, feature, list(dict.fromkeys(names)), store_resource_key)
        for key, feature in found.items()
        if feature is not None
    ]


def _checks(
    asset_key: dg.AssetKey,
    feature: FeatureKey,
    names: Sequence[CheckName],
    store_resource_key: str,
) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(name, asset=asset_key, description=_DESCRIPTIONS[name]) for name in names
    ]

    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        resources = context.op_execution_context.resources
        store = opened_store(getattr(resources, store_resource_key), context.op_execution_context)
        asked = {key.name for key in context.selected_asset_check_keys}
        for name in names:
            if name in asked:
                passed, metadata = _VERDICTS[name](store, feature)
                yield dg.AssetCheckResult(
                    passed=passed,
                    asset_key=asset_key,
                    check_name=name,
                    severity=_SEVERITIES[name],
                    metadata=metadata,
                )

    return _compat.asset_checks(
        specs,
        check,
        name=f"check_{asset_key.to_python_identifier()}",
        required_resource_keys={store_resource_key},
    )


def _pending(store: MetadataStore, feature: FeatureKey) -> _Verdict:
    if store.graph.plan(feature).is_root:
        return True, {c.KEY_NEW: 0, c.KEY_STALE: 0}
    counts = store.resolve_update(feature).counts
    return counts.pending == 0, {c.KEY_NEW: counts.new, c.KEY_STALE: counts.stale}


def _orphaned(store: MetadataStore, feature: FeatureKey) -> _Verdict:
    if store.graph.plan(feature).is_root:
        return True, {c.KEY_ORPHANED: 0}
    orphaned = store.resolve_update(feature).counts.orphaned
    return orphaned == 0, {c.KEY_ORPHANED: orphaned}


def _schema(store: MetadataStore, feature: FeatureKey) -> _Verdict:
    spec, cls = store.graph[feature], store.graph.feature_class(feature)
    stored = store.schema(feature)
    if not stored:
        return True, {"columns": 0}
    declared = {} if cls is None else cls.model_fields
    required = {f.alias or name for name, f in declared.items() if f.is_required()}
    required |= {*spec.id_columns, *(name for f in spec.fields for name in f.columns or ())}
    allowed = {f.alias or name for name, f in declared.items()} | required
    missing = sorted(required - set(stored))
    unknown = sorted(set(stored) - allowed) if declared else []
    metadata = {"columns": len(stored), "missing": missing, "unknown": unknown}
    return not missing and not unknown, metadata


def _unique_ids(store: MetadataStore, feature: FeatureKey) -> _Verdict:
    ids = list(store.graph[feature].id_columns)
    if not store.schema(feature):
        return True, {c.KEY_ROW_COUNT: 0}
    frame = store.read(feature, columns=ids)
    rows = frame.select(nw.len()).collect(backend="pyarrow").item()
    distinct = frame.unique().select(nw.len()).collect(backend="pyarrow").item()
    return rows == distinct, {c.KEY_ROW_COUNT: rows, "duplicates": rows - distinct}


_VERDICTS: Mapping[CheckName, Callable[[MetadataStore, FeatureKey], _Verdict]] = {
    "pending": _pending,
    "orphaned": _orphaned,
    "schema": _schema,
    "unique_ids": _unique_ids,
}
