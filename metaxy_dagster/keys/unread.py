"""Metadata keys that nobody reads: misspelt, or out of place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from metaxy_dagster import constants as c
from metaxy_dagster.errors import AssetError
from metaxy_dagster.keys.asset_keys import FIELDS_BY_KEY
from metaxy_dagster.keys.parsing import names_feature
from metaxy_dagster.keys.values import unwrapped

__all__ = ["stray_keys", "unread_keys"]

_NAMESPACE: Final = "metaxy/"
#: Everything that the library writes itself: passes over their own results know it.
_WRITTEN: Final = frozenset(
    value
    for name, value in vars(c).items()
    if name.startswith("KEY_") and value.startswith(_NAMESPACE)
) - {c.KEY_CHECK, c.KEY_SENSOR}
_KNOWN: Final = _WRITTEN.union(FIELDS_BY_KEY)
_OURS: Final = re.compile(r"metaxy\W|metaxy_", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[\W_]+")
#: What people write instead, where the spelling alone leads somewhere else.
_MEANT: Final = {
    "metaxypartitionby": c.KEY_PARTITION_BY,
    "metaxypartitioncolumn": c.KEY_PARTITION_BY,
    "metaxyids": c.KEY_ID_COLUMNS,
    "metaxykeys": c.KEY_ID_COLUMNS,
    "metaxykey": c.KEY_FEATURE,
    "metaxycheck": c.KEY_CHECKS,
    "metaxycodeversion": c.KEY_FIELDS,
    "metaxymode": c.KEY_INPUT,
}
_NEAR: Final = 0.75
_NEAR_ELSEWHERE: Final = 0.9


def unread_keys(
    metadata: Mapping[str, Any], asset: str, *, partitioned: bool
) -> Iterator[AssetError | str]:
    """Keys of an asset's metadata that do nothing.

    Args:
        metadata: the metadata.
        asset: the asset's name.
        partitioned: whether the asset has partitions.

    Yields:
        An error per key that is near one that is read; a sentence per other key that begins like
        them.
    """
    for key in metadata:
        if key in _KNOWN:
            continue
        ours = _OURS.match(key) is not None
        if not ours and not (partitioned and names_feature(metadata) and _is_near(key)):
            continue
        meant = _meant(key) if ours else c.KEY_PARTITION_BY
        if meant is not None and meant not in metadata:
            yield _misspelt(asset, key, unwrapped(metadata[key]), meant)
        elif ours:
            yield f'nothing reads the metadata key "{key}"; those that are read: {_read()}'


def stray_keys(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys that say something of a feature on an asset that names none."""
    if names_feature(metadata):
        return ()
    # Other IO managers read partition_by too.
    return tuple(key for key in FIELDS_BY_KEY if key in metadata and key != c.KEY_PARTITION_BY)


def _meant(key: str) -> str | None:
    plain = _SEPARATORS.sub("", key).lower()
    if plain in _MEANT:
        return _MEANT[plain]
    keys = {_SEPARATORS.sub("", each): each for each in FIELDS_BY_KEY}
    near = difflib.get_close_matches(plain, keys, n=1, cutoff=_NEAR)
    return keys[near[0]] if near else None


def _is_near(key: str) -> bool:
    """Whether a key is nearly the one that is no ``metaxy/`` key."""
    plain, wanted = (_SEPARATORS.sub("", each).lower() for each in (key, c.KEY_PARTITION_BY))
    return difflib.SequenceMatcher(None, plain, wanted).ratio() >= _NEAR_ELSEWHERE


def _misspelt(asset: str, key: str, value: object, meant: str) -> AssetError:
    remedy = f'did you mean "{meant}"?'
    if _OURS.match(key):
        remedy += f' Otherwise give it a name that does not begin with "{_NAMESPACE}"'
    return AssetError(
        f'nothing reads the metadata key "{key}"',
        asset=asset,
        found=f'"{key}": {value!r}',
        allowed=_read(),
        remedy=remedy,
    )


def _read() -> str:
    return ", ".join(FIELDS_BY_KEY)
