"""Samples that could not be computed, as a frame: each with the text of its error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError, shown
from metaxy_dagster.stores.failures import SampleError
from metaxy_dagster.stores.frames.samples import named_samples

__all__ = ["failed_samples"]

_LONGEST = 1000


def failed_samples(
    samples: Any,
    error: SampleError | Sequence[SampleError],
    *,
    names: Sequence[str],
    feature: str,
) -> pa.Table:
    """The samples that failed, each with its error in text.

    Args:
        samples: a frame, or rows as dictionaries; columns beside the sample columns are ignored.
        error: what went wrong, for all samples or one for each of them.
        names: the columns that name a sample.
        feature: named in errors.

    Returns:
        N rows: the sample columns, ``metaxy_error_type`` and ``metaxy_error``.

    Raises:
        FrameError: no frame, sample columns are missing, or not one error per sample.
    """
    table = named_samples(samples, names=names, feature=feature, what="failed samples")
    errors = _errors(error, table.num_rows, feature)
    if len(errors) != table.num_rows:
        raise FrameError(
            "there must be one error for all failed samples, or one for each of them",
            feature=feature,
            found=f"{len(errors)} errors for {table.num_rows} samples",
            remedy="pass as many errors as samples, in the same order",
        )
    told = [_told(one) for one in errors]
    found = {name: table.column(name) for name in names} if table.num_rows else {}
    kinds = pa.array([kind for kind, _ in told], pa.string())
    texts = pa.array([text for _, text in told], pa.string())
    return pa.table({**found, c.COL_ERROR_TYPE: kinds, c.COL_ERROR: texts})


def _errors(error: object, number: int, feature: str) -> list[object]:
    if isinstance(error, str | BaseException):
        return [error] * number
    if isinstance(error, Iterable) and not isinstance(error, bytes | Mapping | type):
        listed = list(error)
        if all(isinstance(one, str | BaseException) for one in listed):
            return listed
    raise FrameError(
        "an error is neither text nor an exception",
        feature=feature,
        found=shown(error),
        allowed="a text or an exception, or a list of them with one for each sample",
        remedy="pass what was raised",
    )


def _told(error: object) -> tuple[str | None, str]:
    if not isinstance(error, BaseException):
        return None, _shortened(_encodable(error))
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}", _shortened(_encodable(error))


def _encodable(error: object) -> str:
    """What an error says, in characters that can be stored; it may fail to say anything."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - the user's own exception
        return "an error that cannot be written down"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
