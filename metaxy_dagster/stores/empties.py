"""Samples that were computed and yielded nothing, as a caller of ``write`` names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.stores.frames.samples import named_samples, typed_as
from metaxy_dagster.stores.increment import Increment

__all__ = ["EmptySamples", "empty_samples"]


@dataclass(frozen=True)
class EmptySamples:
    """Which samples of an increment yielded nothing.

    Attributes:
        samples: their sample columns; ``None`` for all pending ones that the frame lacks.
        failed: sample columns of those that were reported as failed, and so are not meant by
            "all"; ``None`` if none was.
        since: the commit as of which the increment was resolved, if it is one of the same file:
            what was written to a sample after it is not taken back by "all".

    Example:
        >>> EmptySamples(pa.table({"id": [1]})).samples.num_rows
        1
    """

    samples: pa.Table | None
    failed: pa.Table | None = None
    since: int | None = None


def empty_samples(
    empty: Any, plan: FeaturePlan, increment: Increment | None, since: int | None
) -> EmptySamples | None:
    """Read what the caller of a write said about empty samples.

    Args:
        empty: a frame, rows as dictionaries, ``"rest"``, or ``None`` if nothing was said.
        plan: the feature.
        increment: the increment that the write answers.
        since: as of which it was resolved; ``None`` if that is not known.

    Returns:
        ``None`` if no sample is meant.

    Raises:
        FrameError: there is no increment, or nothing that names samples.
    """
    if empty is None:
        return None
    feature = str(plan.key)
    if plan.is_root or increment is None:
        raise FrameError(
            "samples can be empty only in the increment of a feature that has upstreams",
            feature=feature,
            found="a feature without upstreams" if plan.is_root else "no increment",
            allowed=f"increment=, what store.resolve_update({feature!r}) gave",
            remedy="leave empty= out, or pass the increment that the frame was computed from",
        )
    if isinstance(empty, str):
        if empty != c.EMPTY_REST:
            raise FrameError(
                "this does not say which samples are empty",
                feature=feature,
                found=repr(empty),
                allowed=f'a frame, rows as dictionaries, or "{c.EMPTY_REST}"',
                remedy=f'write empty="{c.EMPTY_REST}" for all pending samples that the frame lacks',
            )
        return EmptySamples(None, increment.failed, since)
    names = increment.sample_columns
    found = named_samples(empty, names=names, feature=feature, what="empty samples")
    if not found.num_rows:
        return None
    return EmptySamples(typed_as(found, increment.delta, feature=feature))
