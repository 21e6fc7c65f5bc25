"""Metadata keys that nobody reads: misspelt, or out of place."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from metaxy_dagster import constants as c
from metaxy_dagster.definitions.plan import Notice, NoticeKind
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.collect import Asset
    from metaxy_dagster.errors import MetaxyError

__all__ = ["key_faults"]

_NAMESPACE: Final = "metaxy/"
#: Everything that the library reads or writes itself; passes over their own results know it.
_KNOWN: Final = frozenset(
    value
    for name, value in vars(c).items()
    if name.startswith("KEY_") and value.startswith(_NAMESPACE)
) - {c.KEY_CHECK, c.KEY_SENSOR}
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


def key_faults(asset: Asset) -> Iterator[MetaxyError | Notice]:
    """What an asset's metadata says under keys that do nothing.

    Args:
        asset: the asset.

    Yields:
        An error per key that is near one of the library's; a warning per other key that begins
        like them, and for a feature that only a tag names.
    """
    metadata = asset.spec.metadata
    for key in metadata:
        if key in _KNOWN:
            continue
        ours = _OURS.match(key) is not None
        meant = _meant(key) if ours else _near_partition_by(key, asset)
        if meant is not None and meant not in metadata:
            yield _misspelt(asset, key, meant)
        elif ours:
            message = f'nothing reads the metadata key "{key}"; those that are read: {_read()}'
            yield Notice(NoticeKind.METADATA, message, asset.name)
    if c.TAG_FEATURE in asset.spec.tags and c.KEY_FEATURE not in metadata:
        message = (
            f'it has the tag "{c.TAG_FEATURE}", which ties it to nothing: set metadata '
            f'"{c.KEY_FEATURE}": "{asset.spec.tags[c.TAG_FEATURE]}" instead'
        )
        yield Notice(NoticeKind.METADATA, message, asset.name)


def _meant(key: str) -> str | None:
    plain = _SEPARATORS.sub("", key).lower()
    if plain in _MEANT:
        return _MEANT[plain]
    keys = {_SEPARATORS.sub("", each): each for each in c.READ_KEYS}
    near = difflib.get_close_matches(plain, keys, n=1, cutoff=_NEAR)
    return keys[near[0]] if near else None


def _near_partition_by(key: str, asset: Asset) -> str | None:
    """The one key that is no ``metaxy/`` key; it is looked for where it would be needed."""
    if c.KEY_FEATURE not in asset.spec.metadata or asset.spec.partitions_def is None:
        return None
    plain, wanted = (_SEPARATORS.sub("", each).lower() for each in (key, c.KEY_PARTITION_BY))
    ratio = difflib.SequenceMatcher(None, plain, wanted).ratio()
    return c.KEY_PARTITION_BY if key != c.KEY_PARTITION_BY and ratio >= _NEAR_ELSEWHERE else None


def _misspelt(asset: Asset, key: str, meant: str) -> DefinitionsError:
    return DefinitionsError(
        f'nothing reads the metadata key "{key}"',
        asset=asset.name,
        found=f'"{key}": {asset.metadata[key]!r}',
        allowed=_read(),
        remedy=f'did you mean "{meant}"? Otherwise give it a name that does not begin with '
        f'"{_NAMESPACE}"'
        if _OURS.match(key)
        else f'did you mean "{meant}"?',
    )


def _read() -> str:
    return ", ".join(c.READ_KEYS)
