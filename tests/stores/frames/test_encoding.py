"""How lists of parts become hash input: no part runs into the next one, and nothing is no text."""

from __future__ import annotations

import hashlib

import pytest

from metaxy_dagster.stores.frames.encoding import encode_all, hash_parts

INPUTS: dict[str, tuple[list[str | None], str]] = {
    "nothing": ([], ""),
    "one": (["ab"], "2:ab"),
    "several": (["a", "bc"], "1:a2:bc"),
    "bytes are counted": (["é"], "2:é"),
    "an empty one": (["", "a"], "0:1:a"),
    "a missing one": (["a", None, "-"], "1:a-1:-"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_the_input_and_its_hash(name: str) -> None:
    parts, text = INPUTS[name]
    assert encode_all(parts) == text
    assert hash_parts(parts) == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
