"""Stored values of which nobody can tell to which partition they belong."""

from __future__ import annotations

import dagster as dg

from metaxy_dagster.features import FeatureKey, Filter, IsNull, Or
from metaxy_dagster.features.columns import fold
from metaxy_dagster.runtime.partitions.choice import undecided_error
from metaxy_dagster.runtime.partitions.scope import Scope
from metaxy_dagster.stores import MetadataStore

__all__ = ["require_decided"]

_SHOWN = 3


def require_decided(store: MetadataStore, feature: FeatureKey, scope: Scope) -> None:
    """Refuse to choose samples by values that cannot be told to be within or outside.

    Samples without any value are of no partition; the log of the run says how many there are.

    Args:
        store: where the feature is.
        feature: the feature.
        scope: which of its samples are chosen.

    Raises:
        RunError: there are such values.
    """
    with store.connected():
        _require(store, feature, scope)


def _require(store: MetadataStore, feature: FeatureKey, scope: Scope) -> None:
    schema = store.schema(feature)
    undecided = scope.undecided(schema)
    for column in scope.partition_columns:
        name = next((one for one in schema if fold(one) == fold(column)), None)
        if name is None:
            continue
        choice, unsure = undecided.get(column, (None, None))
        missing: Filter = IsNull(column)
        # The same for all partitions but few, so that it is looked for once.
        unread = _unreadable(scope, column, schema[name])
        if unread is not None and not store.has(feature, filters=[Or((missing, unread))]):
            continue
        odd = missing if unsure is None else Or((missing, unsure))
        # Seldom any: one look is enough then.
        if not store.count(feature, filters=[odd]):
            continue
        if choice is not None and unsure is not None:
            rows = store.count(feature, filters=[unsure])
            if rows:
                frame = store.read_table(feature, columns=[name], filters=[unsure])
                values = sorted(set(frame[name].to_pylist()), key=str)[:_SHOWN]
                raise undecided_error(choice, values, rows).located(feature=str(feature))
        rows = store.count(feature, filters=[missing])
        dg.get_dagster_logger().warning(
            "feature %s: %d samples have no value in %r, so they are of no partition",
            feature,
            rows,
            column,
        )


def _unreadable(scope: Scope, column: str, kind: str) -> Filter | None:
    """What is of no partition whatever the run is about; ``None`` if that cannot be said."""
    found = {one.unreadable(kind) for one in scope.choices if one.column == column}
    return found.pop() if len(found) == 1 else None
