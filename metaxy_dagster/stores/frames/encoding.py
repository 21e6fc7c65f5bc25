"""How values become hash input: one rule for every engine.

A part is written as ``<length in UTF-8 bytes>:<text>``, a missing part as ``-``. No part can run
into the next one, so two different lists of parts never give the same input. Rows are hashed
with md5 (a content version, not a secret: nothing is signed or hidden by it) because every
engine has it and all of them agree on it for UTF-8 text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["encode", "encode_all", "hash_parts", "hash_text"]

MISSING = "-"
HASH_LENGTH = 32


def encode(part: str | None) -> str:
    """Length-prefix one part.

    Example:
        >>> encode("é"), encode(""), encode(None)
        ('2:é', '0:', '-')
    """
    return MISSING if part is None else f"{len(part.encode())}:{part}"


def encode_all(parts: Iterable[str | None]) -> str:
    """Length-prefix several parts and join them.

    Example:
        >>> encode_all(["a", None, "bc"])
        '1:a-2:bc'
    """
    return "".join(map(encode, parts))


def hash_text(text: str) -> str:
    """128 bits of a text, as 32 lower-case hex digits.

    Example:
        >>> hash_text("")
        'd41d8cd98f00b204e9800998ecf8427e'
    """
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def hash_parts(parts: Iterable[str | None]) -> str:
    """128 bits of a list of parts.

    Example:
        >>> hash_parts(["a", "bc"]) == hash_parts(["ab", "c"])
        False
    """
    return hash_text(encode_all(parts))
