"""Text: what names and versions may hold."""

from __future__ import annotations

import reprlib

from metaxy_dagster.errors import FeatureError

__all__ = ["check_encodable", "check_name"]

MAX_NAME = 255


def check_encodable(text: str, noun: str) -> str:
    """Refuse text that has no UTF-8 form: it could be neither hashed nor stored.

    Raises:
        FeatureError: it holds half of a surrogate pair.

    Example:
        >>> check_encodable("é", "description")
        'é'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FeatureError(
            f"{noun} cannot be written as UTF-8",
            found=reprlib.repr(text),
            remedy="decode the text properly; it holds half of a surrogate pair",
        ) from None
    return text


def check_name(name: object, noun: str, example: str) -> str:
    """Refuse what is not a short, visible, trimmed text.

    Raises:
        FeatureError: it is empty, too long, has other than printable characters or surrounding
            space, or is not text.

    Example:
        >>> check_name("video_id", "a column name", "sample_id")
        'video_id'
    """
    if (
        isinstance(name, str)
        and 0 < len(name) <= MAX_NAME
        and name.isprintable()
        and name == name.strip()
    ):
        return name
    raise FeatureError(
        f"not {noun}",
        found=f"{reprlib.repr(name)} of type {type(name).__name__}",
        allowed=f"text of 1 to {MAX_NAME} printable characters, without surrounding space",
        remedy=f"write text, for instance {example!r}",
    )
