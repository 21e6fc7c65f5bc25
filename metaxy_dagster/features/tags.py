"""Keys as the values of tags, which take fewer characters than a key has."""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["TAG_VALUE_RULE", "feature_tag", "tag_value"]

TAG_VALUE_RULE: Final = "letters, digits, '_', '.', '-', at most 63 of them"
_TAG_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def feature_tag(key: str) -> str | None:
    """The tag value of a feature's key, which no other key has; ``None`` if it cannot be made one.

    Example:
        >>> feature_tag("audio/clusters")
        'audio.clusters'
        >>> feature_tag("audio.clusters")
        'audio.clusters-6030f971'
    """
    value = tag_value(key)
    if value is None or "." not in key:
        return value
    # A dot stands for a slash; one that is a dot is told apart by the key's own hash.
    return tag_value(f"{value}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")


def tag_value(text: str) -> str | None:
    """The text as a tag value; ``None`` if it cannot be made one.

    Example:
        >>> tag_value("audio/clusters")
        'audio.clusters'
        >>> tag_value("x" * 64) is None
        True
    """
    value = text.replace("/", ".")
    return value if _TAG_VALUE.fullmatch(value) else None
