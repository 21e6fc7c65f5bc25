"""The words of a text."""

import re
from collections import Counter

_WORD = re.compile(r"[a-z]+")
_ENDINGS = ("ations", "ation", "ingly", "ings", "ing", "edly", "ed", "ies", "es", "s")


def words_of(text: str) -> dict[str, int]:
    """How often each word stands in a text, endings taken off."""
    return dict(sorted(Counter(map(_stem, _WORD.findall(text.lower()))).items()))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending)
    return word
