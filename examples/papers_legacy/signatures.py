"""What texts have in common if they are alike: the least hash of their phrases, many times over."""

import zlib

_WORDS = 4
_PRIME = (1 << 61) - 1
_SEEDS = [(2 * i + 1, 7919 * i) for i in range(1, 33)]


def signature(text: str) -> list[int]:
    """One number per hash function; texts agree in as many as they have phrases in common."""
    words = text.lower().split()
    phrases = {" ".join(words[i : i + _WORDS]) for i in range(max(1, len(words) - _WORDS + 1))}
    hashes = [zlib.crc32(phrase.encode()) for phrase in phrases]
    return [min((a * each + b) % _PRIME for each in hashes) for a, b in _SEEDS]
