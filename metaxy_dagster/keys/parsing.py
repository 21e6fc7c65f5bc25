"""From an asset's metadata to its keys: every fault of it at once, in the words of the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from metaxy_dagster import constants as c
from metaxy_dagster.errors import AssetError, FeatureError, MetaxyError
from metaxy_dagster.features.keys import FeatureKey
from metaxy_dagster.keys.asset_keys import FIELDS_BY_KEY, AssetKeys, words_of
from metaxy_dagster.keys.values import unwrapped

__all__ = ["ParsedKeys", "named_feature", "names_feature", "parse"]

#: Keys whose values are kept as they were written: a feature spec reads them.
_AS_WRITTEN: Final = (c.KEY_FEATURE, *c.INLINE_KEYS)


@dataclass(frozen=True)
class ParsedKeys:
    """What an asset's metadata says, and what of it is not allowed.

    Attributes:
        keys: the keys, those at fault left out.
        faults: one error per key whose value is not allowed.
        conflicts: one error per key that does not go with the others.
    """

    keys: AssetKeys
    faults: tuple[MetaxyError, ...] = ()
    conflicts: tuple[AssetError, ...] = ()


def names_feature(metadata: Mapping[str, object]) -> bool:
    """Whether metadata has the key that ties an asset to a feature, whatever it says.

    Example:
        >>> names_feature({"metaxy/feature": "a/b"}), names_feature({"owner": "ann"})
        (True, False)
    """
    return c.KEY_FEATURE in metadata


def named_feature(metadata: Mapping[str, object]) -> FeatureKey | None:
    """The feature that metadata names; ``None`` if it names none.

    Args:
        metadata: an asset's metadata; values may be wrapped, as Dagster does.

    Raises:
        FeatureError: the value is not a feature key.

    Example:
        >>> named_feature({"metaxy/feature": "audio/clusters"})
        FeatureKey('audio/clusters')
        >>> named_feature({"owner": "ann"}) is None
        True
    """
    if not names_feature(metadata):
        return None
    try:
        return FeatureKey(unwrapped(metadata[c.KEY_FEATURE]))
    except FeatureError as error:
        raise _in_words(error, c.KEY_FEATURE, FeatureError) from None


def parse(metadata: Mapping[str, Any], asset: str | None = None) -> ParsedKeys:
    """Read all keys of an asset.

    Args:
        metadata: its metadata; values may be wrapped, as Dagster does; other keys are passed over.
        asset: its name, for errors.

    Example:
        >>> parsed = parse({"metaxy/feature": "a", "metaxy/batch_size": 0, "metaxy/write": "all"})
        >>> [fault.found for fault in parsed.faults]
        ['0', "'all'"]
    """
    given: dict[str, Any] = {}
    for key in metadata.keys() & FIELDS_BY_KEY.keys():
        value = unwrapped(metadata[key])
        if value is not None or key in _AS_WRITTEN:
            given[key] = value
    faults: dict[str, MetaxyError] = {}
    try:
        keys = AssetKeys.model_validate(given)
    except ValidationError as error:
        for each in error.errors():
            key = str(each["loc"][0])
            faults.setdefault(key, _fault(key, given[key], each, asset))
        keys = AssetKeys.model_validate({k: v for k, v in given.items() if k not in faults})
    ordered = tuple(faults[key] for key in FIELDS_BY_KEY if key in faults)
    return ParsedKeys(keys, ordered, tuple(_conflicts(keys, given, asset)))


def _fault(key: str, value: object, detail: ErrorDetails, asset: str | None) -> MetaxyError:
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, MetaxyError):
        kind = FeatureError if isinstance(cause, FeatureError) else AssetError
        return _in_words(cause, key, kind).located(asset=asset)
    words = words_of(key)
    return AssetError(
        f'metadata "{key}" has a value that is not allowed',
        asset=asset,
        found=repr(value),
        allowed=words.allowed,
        remedy=f"{words.remedy}, or leave it out",
    )


def _in_words(error: MetaxyError, key: str, kind: type[MetaxyError]) -> MetaxyError:
    """The same, in the words of whoever writes metadata."""
    return kind(
        f'metadata "{key}": {error.problem}',
        asset=error.asset,
        feature=error.feature,
        found=error.found,
        allowed=error.allowed,
        remedy=error.remedy,
    )


def _conflicts(
    keys: AssetKeys, given: Mapping[str, Any], asset: str | None
) -> Iterator[AssetError]:
    """Keys that only assets can have that take their pending samples alone."""
    if keys.takes_increment:
        return
    wanted = f'"{c.KEY_INPUT}": "{c.INPUT_INCREMENT}"'
    for key, has in (
        (c.KEY_BATCH_SIZE, c.KEY_BATCH_SIZE in given),
        (c.KEY_UNRETURNED, keys.unreturned == c.UNRETURNED_EMPTY),
    ):
        if has:
            yield AssetError(
                f'metadata "{key}" is for assets that take only their pending samples',
                asset=asset,
                feature=None if keys.feature is None else str(keys.feature),
                found=f'"{c.KEY_INPUT}": "{given[c.KEY_INPUT]}"'
                if c.KEY_INPUT in given
                else f'no "{c.KEY_INPUT}", which is "{c.INPUT_ALL}"',
                allowed=wanted,
                remedy=f'set metadata {wanted} on the asset, or remove "{key}"',
            )
