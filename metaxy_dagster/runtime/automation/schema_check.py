"""Whether what is stored of a feature is what its spec and its class declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metaxy_dagster.features import FeatureKey
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.filters import IsNull, Not
from metaxy_dagster.stores import MetadataStore
from metaxy_dagster.stores.frames.annotations import fits

__all__ = ["compare_schema"]


def compare_schema(store: MetadataStore, feature: FeatureKey) -> tuple[bool, str, dict[str, Any]]:
    """Compare stored columns with declared ones: names, and types where annotations are clear.

    Args:
        store: where the feature is stored.
        feature: one of its features.

    Returns:
        Whether they agree, that in a sentence, and the numbers and columns as metadata. Columns
        that the class does not name are a fault only if it forbids them.
    """
    stored = store.schema(feature)
    if not stored:
        return True, "Nothing was written yet.", {"columns": 0}
    spec = store.graph[feature]
    declared = ClassColumns.of(store.graph.feature_class(feature))
    needed = [*spec.id_columns, *(name for field in spec.fields for name in field.columns or ())]
    there = set(map(fold, stored))
    missing = sorted(
        {*declared.missing(stored), *(name for name in needed if fold(name) not in there)}
    )
    ids = set(map(fold, spec.id_columns))
    unknown = sorted(name for name in declared.unknown(stored) if fold(name) not in ids)
    unknown = unknown if declared.kinds else []
    wrong = sorted(_mistyped(store, feature, declared, stored))
    faults = [
        f"{what} {', '.join(names)}"
        for what, names in (
            ("not stored:", missing),
            ("not declared:", unknown if declared.is_closed else []),
            ("of another type:", wrong),
        )
        if names
    ]
    found = f"Stored and declared columns differ: {'; '.join(faults)}."
    found = found if faults else f"The {len(stored)} stored columns are as declared."
    metadata = {"columns": len(stored), "missing": missing, "unknown": unknown, "mistyped": wrong}
    return not faults, found, metadata


def _mistyped(
    store: MetadataStore, feature: FeatureKey, declared: ClassColumns, stored: Mapping[str, str]
) -> Iterator[str]:
    """The columns whose stored type is none of those in which their annotation is stored."""
    annotations = {fold(name): annotation for name, annotation in declared.kinds.items()}
    for name, kind in stored.items():
        annotation = annotations.get(fold(name))
        if annotation is None or fits(annotation, kind):
            continue
        # A column of nothing but nulls has the type of its first values still before it.
        if store.count(feature, filters=Not(IsNull(name))):
            yield f"{name} ({kind}, declared {getattr(annotation, '__name__', annotation)})"
