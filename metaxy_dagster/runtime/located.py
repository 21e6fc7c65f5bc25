"""Errors of the floors below, which do not know the asset that they are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from metaxy_dagster.errors import MetaxyError

__all__ = ["located"]


@contextmanager
def located(asset_key: dg.AssetKey) -> Iterator[None]:
    """Name the asset in errors of the floors below, which do not know it."""
    try:
        yield
    except MetaxyError as error:
        known = error.located(asset=asset_key.to_user_string())
        # In place of the other one: a log that shows both says everything twice.
        raise known.with_traceback(error.__traceback__) from error.__cause__
