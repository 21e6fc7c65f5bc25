"""Columns of partitions on assets that have none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metaxy_dagster.constants import KEY_PARTITION_BY
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.errors import MetaxyError

__all__ = ["unpartitioned"]


@partial(RepositoryRule, of_assets=True)
def unpartitioned(_: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """``"partition_by"`` without partitions: refused by every run, or without effect."""
    for each in draft.handled:
        partition_by = each.asset.keys.partition_by
        if not partition_by or each.asset.spec.partitions_def is not None:
            continue
        columns = dict(partition_by)
        column: object = columns.get("", columns)
        if each.kept is not None:
            continue  # others have a use for a key of this name
        if each.ours:
            yield each.fault(
                f'metadata "{KEY_PARTITION_BY}" is for assets with partitions',
                found=f'"{KEY_PARTITION_BY}": {column!r} on an asset without any',
                allowed=f'"{KEY_PARTITION_BY}" together with partitions_def',
                remedy=f'give the asset a partitions_def, or remove "{KEY_PARTITION_BY}"',
            )
        elif each.handler is None:
            message = f'"{KEY_PARTITION_BY}" does nothing: the asset has no partitions'
            yield Notice(NoticeKind.PARTITIONS, message, each.asset.name)
