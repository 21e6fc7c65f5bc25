"""What a run gives to a computation besides its samples, as a part of code versions.

A run's configuration changes what is computed as other code does. Its hash stands behind the code
version of each field, where it can be found again and exchanged for that of another run.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from typing import Final

from metaxy_dagster.features.fields import FieldSpec
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.features.keys import FeatureKey
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.features.text import MAX_NAME
from metaxy_dagster.features.versions import digest

__all__ = ["UNKNOWN", "has_unknown_inputs", "inputs_within", "with_inputs"]

#: In place of a hash: a run computes with some, but nothing tells with which.
UNKNOWN: Final = "unknown"
_MARK: Final = "+config:"
_WITH_INPUTS: Final = re.compile(rf"{re.escape(_MARK)}([0-9a-f]{{32}}|{UNKNOWN})$")
_KEPT: Final = 16

_Versions = tuple[tuple[FeatureKey, str], ...]
_MADE: weakref.WeakKeyDictionary[FeatureGraph, tuple[int, dict[_Versions, FeatureGraph]]] = (
    weakref.WeakKeyDictionary()
)


def with_inputs(graph: FeatureGraph, inputs: Mapping[FeatureKey, str]) -> FeatureGraph:
    """The same features, where the code versions of some say what a run computes them with.

    Args:
        graph: the features; it is not changed.
        inputs: by feature, 32 hex digits or :data:`UNKNOWN`, in place of what stood there.

    Returns:
        Another graph, the same one for equal inputs; this very one where nothing changes.

    Example:
        >>> from metaxy_dagster.features import FeatureKey, FeatureSpec
        >>> graph = FeatureGraph()
        >>> _ = graph.add(FeatureSpec("faces", id_columns=["id"], fields={"faces": "2"}))
        >>> with_inputs(graph, {FeatureKey("faces"): UNKNOWN})["faces"].fields[0].code_version
        '2+config:unknown'
    """
    wanted = tuple(sorted((key, text) for key, text in inputs.items() if key in graph))
    if not wanted:
        return graph
    count, made = _MADE.get(graph, (0, {}))
    if count != len(graph):  # features may be added, and are never replaced
        made = {}
        _MADE[graph] = (len(graph), made)
    if wanted not in made:
        while len(made) >= _KEPT:
            made.pop(next(iter(made)))
        made[wanted] = graph.with_specs({key: _spec(graph[key], text) for key, text in wanted})
    return made[wanted]


def inputs_within(spec: FeatureSpec) -> str | None:
    """What the code versions of a feature say of a run; ``None`` if they say nothing.

    Example:
        >>> spec = FeatureSpec("faces", id_columns=["id"], fields={"faces": "2+config:unknown"})
        >>> inputs_within(spec)
        'unknown'
    """
    found = _WITH_INPUTS.search(spec.fields[0].code_version)
    return None if found is None else found[1]


def has_unknown_inputs(spec: FeatureSpec) -> bool:
    """Whether only a run knows what the feature is computed with."""
    return inputs_within(spec) == UNKNOWN


def _spec(spec: FeatureSpec, inputs: str) -> FeatureSpec:
    return FeatureSpec(
        spec.key,
        id_columns=spec.id_columns,
        fields=[_field(field, inputs) for field in spec.fields],
        deps=spec.deps,
        metadata=spec.metadata,
        description=spec.description,
    )


def _field(field: FieldSpec, inputs: str) -> FieldSpec:
    own = _WITH_INPUTS.sub("", field.code_version)
    if len(own) + len(_MARK) + len(inputs) > MAX_NAME:
        own = digest(own)
    return field.with_code_version(f"{own}{_MARK}{inputs}")
