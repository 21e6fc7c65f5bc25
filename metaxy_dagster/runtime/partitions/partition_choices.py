"""Partitions of Dagster as choices of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from metaxy_dagster.runtime.partitions.choice import Choice, TimeKeys
from metaxy_dagster.runtime.partitions.scope import Scope

__all__ = ["partition_choices"]

_Definitions = Sequence[dg.TimeWindowPartitionsDefinition]


def partition_choices(
    keys: Sequence[str],
    definition: dg.PartitionsDefinition[Any],
    columns: Mapping[str, str],
    also: _Definitions = (),
) -> Scope:
    """The samples of some Dagster partitions.

    Args:
        keys: the partition keys; without any, no sample is of them.
        definition: the asset's partitions.
        columns: the column of each dimension, by its name; ``""`` for an asset of one dimension.
        also: other definitions whose keys the columns may hold.

    Returns:
        One combination of choices where the keys are a full product of their dimensions.
    """
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return Scope(((_choice(columns[""], keys, definition, also),),))
    inner = {each.name: each.partitions_def for each in definition.partitions_defs}
    chosen = {
        tuple(
            definition.get_partition_key_from_str(key).keys_by_dimension[name] for name in columns
        )
        for key in keys
    }
    distinct = [tuple(dict.fromkeys(key[i] for key in sorted(chosen))) for i in range(len(columns))]
    full = len(chosen) == math.prod(len(values) for values in distinct)
    combinations = [distinct] if full else [[(part,) for part in key] for key in sorted(chosen)]
    return Scope(
        tuple(
            tuple(
                _choice(columns[name], values, inner[name], also)
                for name, values in zip(columns, each, strict=True)
            )
            for each in combinations
        )
    )


def _choice(
    column: str, keys: Sequence[str], definition: dg.PartitionsDefinition[Any], also: _Definitions
) -> Choice:
    if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return Choice(column, tuple(keys), is_partition=True)
    times = TimeKeys.of(keys, definition, also)
    return Choice(column, tuple(keys), times, is_partition=True)
