"""Keys as the values of tags, which take fewer characters than a key has."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["TAG_VALUE_RULE", "tag_value"]

TAG_VALUE_RULE: Final = "letters, digits, '_', '.', '-', at most 63 of them"
_TAG_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,63}")


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
