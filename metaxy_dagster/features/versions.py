"""Versions: hashes of what a feature is declared to be. They need no store and no data.

Every hash is taken over a list of parts, each with its length in front, so that no two different
lists ever give the same input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from metaxy_dagster.features.keys import FeatureKey, FieldKey
from metaxy_dagster.features.plan import FieldPlan, ParentField
from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["code_version", "digest", "feature_version", "field_version"]

_HEX_DIGITS = 32


def digest(*parts: str | None) -> str:
    """Hash a list of parts to 128 bits.

    Args:
        parts: text, or ``None`` for a part that is missing.

    Returns:
        32 lower-case hex digits: the front of a SHA-256 over ``<bytes>:<UTF-8 text>`` for each
        part and ``-`` for a missing one.

    Example:
        >>> digest("ab", "c") == digest("a", "bc")
        False
        >>> len(digest())
        32
    """
    sha = hashlib.sha256()
    for part in parts:
        if part is None:
            sha.update(b"-")
        else:
            encoded = part.encode()
            sha.update(b"%d:" % len(encoded) + encoded)
    return sha.hexdigest()[:_HEX_DIGITS]


def field_version(
    key: FieldKey, code_version: str, parents: Iterable[tuple[ParentField, str]]
) -> str:
    """The version of a field: its key, its code version and its parents with their versions.

    Args:
        key: the field.
        code_version: its own code version.
        parents: the upstream fields it is computed from, in order, each with its version.
    """
    pairs = list(parents)
    texts = [text for parent, version in pairs for text in (str(parent), version)]
    return digest(str(key), code_version, str(len(pairs)), *texts)


def feature_version(key: FeatureKey, fields: Iterable[FieldPlan]) -> str:
    """The version of a feature: its key, and each of its fields with its version."""
    ordered = sorted(fields, key=lambda field: field.key)
    return digest(str(key), *(text for f in ordered for text in (str(f.key), f.version)))


def code_version(spec: FeatureSpec) -> str:
    """The code version of a feature: its own fields with their code versions, no upstream."""
    ordered = sorted(spec.fields, key=lambda field: field.key)
    return digest(*(text for f in ordered for text in (str(f.key), f.code_version)))
