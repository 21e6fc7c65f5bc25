"""Arguments of a store's methods: refused where they are given, in words that name them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from metaxy_dagster import constants as c
from metaxy_dagster.errors import StoreError, shown
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.features.shares import SHARE_RULE, is_share

__all__ = [
    "check_flags",
    "check_how",
    "check_mapping",
    "check_run",
    "check_text",
    "column_names",
    "is_number",
    "is_whole",
    "one_of",
]


def is_whole(value: object) -> bool:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a number that is not infinite."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def check_flags(**flags: object) -> None:
    """Refuse what is neither true nor false: ``"no"`` and ``None`` would be taken for one of both.

    Raises:
        StoreError: naming the argument.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise StoreError(
                f"{name} is neither true nor false",
                found=shown(value),
                allowed="True or False",
                remedy=f"correct {name}, or leave it out",
            )


def check_how(
    key: FeatureKey,
    mode: object,
    max_deleted_share: object,
    materialization_id: object,
    flags: Sequence[object],
) -> None:
    """Refuse a way to write that there is not.

    Raises:
        StoreError: with what is allowed.
    """
    if not isinstance(mode, str) or mode not in c.WRITE_MODES:
        raise StoreError(
            "this is no way to write",
            feature=str(key),
            found=shown(mode),
            allowed=list(c.WRITE_MODES),
            remedy="leave mode out, or correct it",
        )
    check_run(materialization_id)
    check_flags(**dict(zip(("delete_orphaned", "delete_failed", "versioned"), flags, strict=True)))
    if max_deleted_share is not None and not is_share(max_deleted_share):
        raise StoreError(
            "max_deleted_share has a value that is not allowed",
            feature=str(key),
            found=shown(max_deleted_share),
            allowed=SHARE_RULE,
            remedy="leave it out, or correct it",
        )


def check_run(materialization_id: object) -> None:
    """Refuse what names no run.

    Raises:
        StoreError: naming the argument.
    """
    if materialization_id is not None:
        check_text("materialization_id", materialization_id)


def check_text(name: str, value: object) -> None:
    """Refuse what is no text that can be stored.

    Raises:
        StoreError: naming the argument.
    """
    if isinstance(value, str) and value and not any("\ud800" <= one <= "\udfff" for one in value):
        return
    raise StoreError(
        f"{name} is no text",
        found=shown(value),
        allowed="text that can be written as UTF-8",
        remedy=f"correct {name}",
    )


def check_mapping(name: str, value: object) -> None:
    """Refuse what gives nothing to names.

    Raises:
        StoreError: naming the argument.
    """
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value):
        raise StoreError(
            f"{name} is no mapping of columns",
            found=shown(value),
            allowed="a dictionary with names of columns as its keys",
            remedy=f"correct {name}",
        )


def one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is none of some words.

    Raises:
        StoreError: naming the argument.
    """
    if not isinstance(value, str) or value not in allowed:
        raise StoreError(
            f"{name} has a value that is not allowed",
            found=shown(value),
            allowed=list(allowed),
            remedy=f"correct {name}, or leave it out",
        )


def column_names(value: object, *, feature: str | None = None) -> tuple[str, ...] | None:
    """The names of columns that are asked for; ``None`` for all.

    Raises:
        StoreError: something else than a list of texts.
    """
    if value is None:
        return None
    named = (
        tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else ()
    )
    if (
        isinstance(value, str | bytes)
        or not isinstance(value, Iterable)
        or not all(isinstance(one, str) for one in named)
    ):
        raise StoreError(
            "columns are not a list of names",
            feature=feature,
            found=shown(value),
            allowed='a list of texts, such as ["id", "path"]',
            remedy="correct columns=, or leave it out for all of them",
        )
    return named
