"""Inline features: declared by metadata keys alone, on an asset or wherever metadata goes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from metaxy_dagster.constants import INLINE_KEYS, KEY_DEPS, KEY_FEATURE, KEY_FIELDS, KEY_ID_COLUMNS
from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.keys import FeatureKey
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.keys.parsing import named_feature
from metaxy_dagster.keys.values import unwrapped

__all__ = ["declares_feature", "spec_from_metadata"]

#: An argument of a spec at the head of an error, where metadata has a key for it.
_ARGUMENT: Final = re.compile(r"^(id_columns|fields|deps)\b")


def declares_feature(metadata: Mapping[str, object]) -> bool:
    """Whether metadata declares a feature, and does not only name it.

    Example:
        >>> declares_feature({"metaxy/feature": "a", "metaxy/id_columns": ["id"]})
        True
    """
    return not metadata.keys().isdisjoint(INLINE_KEYS)


def spec_from_metadata(
    metadata: Mapping[str, object], *, dep_candidates: Sequence[FeatureKey] = ()
) -> FeatureSpec | None:
    """The spec that metadata keys declare; ``None`` if they only name a feature, or none.

    Args:
        metadata: an asset's metadata, with ``metaxy/feature``, ``metaxy/id_columns`` (list) and
            optionally ``metaxy/fields`` (list of names; or mapping of names to code versions or
            FieldSpec arguments) and ``metaxy/deps`` (list of keys or FeatureDep arguments).
        dep_candidates: what it depends on if ``metaxy/deps`` is absent.

    Raises:
        FeatureError: a key is missing or its value is not valid.

    Example:
        >>> spec = spec_from_metadata(
        ...     {
        ...         "metaxy/feature": "video/faces",
        ...         "metaxy/id_columns": ["video_id"],
        ...         "metaxy/fields": {"faces": {"code_version": "2"}},
        ...     },
        ...     dep_candidates=[FeatureKey("video/raw")],
        ... )
        >>> spec.deps[0].feature, spec.fields[0].code_version
        (FeatureKey('video/raw'), '2')
    """
    given: dict[str, Any] = {
        key: unwrapped(metadata[key]) for key in INLINE_KEYS if key in metadata
    }
    if not given:
        return None
    key = named_feature(metadata)
    if key is None:
        raise FeatureError(
            "metadata declares a feature without naming it",
            found=", ".join(given),
            allowed=f"{KEY_FEATURE} beside them",
            remedy=f'add "{KEY_FEATURE}": "<feature key>"',
        )
    if KEY_ID_COLUMNS not in given:
        raise FeatureError(
            f"metadata declares a feature without {KEY_ID_COLUMNS}",
            feature=str(key),
            found=", ".join(given),
            remedy=f'add "{KEY_ID_COLUMNS}": ["<column>"], or drop these keys if the feature is'
            " declared elsewhere",
        )
    candidates = [one for one in dict.fromkeys(dep_candidates) if one != key]
    try:
        return FeatureSpec(
            key,
            id_columns=given[KEY_ID_COLUMNS],
            fields=given.get(KEY_FIELDS, ()),
            deps=given.get(KEY_DEPS, candidates),
        )
    except FeatureError as error:
        made = error.located()
        made.problem = _ARGUMENT.sub(r'metadata "metaxy/\1"', error.problem)
        raise made from None
