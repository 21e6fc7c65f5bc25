"""The increment that a write answers, as far as a watermark is about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

__all__ = ["Answered"]


@dataclass(frozen=True)
class Answered:
    """The increment that a write answers, whole or in part.

    Attributes:
        fingerprint: of the feature's definition.
        commit: as of which it was resolved.
        sample_columns: what names its rows.
        open_count: how many samples of it are not simply unchanged.
        lists_unchanged: whether samples that need nothing may be listed too.
        ids: gives the sample columns of samples with certain statuses.
    """

    fingerprint: str
    commit: int
    sample_columns: tuple[str, ...]
    open_count: int
    lists_unchanged: bool
    ids: Callable[[Sequence[int]], pa.Table]
