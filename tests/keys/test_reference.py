from __future__ import annotations

import importlib.util

import pytest
from places import ROOT

from metaxy_dagster.keys import parse, reference
from metaxy_dagster.keys.asset_keys import FIELDS_BY_KEY


def test_what_the_documentation_says_of_the_keys_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_keys", ROOT / "docs" / "make_keys.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for path, text in script.made().items():
        assert path.read_text() == text, "run: make docs"


@pytest.mark.parametrize("key", FIELDS_BY_KEY)
def test_each_example_is_allowed(key: str) -> None:
    for example in FIELDS_BY_KEY[key].examples:
        metadata = {"metaxy/feature": "a", "metaxy/input": "increment", key: example}
        parsed = parse(metadata)
        assert not (*parsed.faults, *parsed.conflicts)
        assert FIELDS_BY_KEY[key].examples


@pytest.mark.parametrize("key", FIELDS_BY_KEY)
def test_the_schema_tells_every_key(key: str) -> None:
    schema = reference.json_schema()
    told = schema["properties"][key]
    assert told["description"]
    assert told["examples"]
    assert {"type", "anyOf", "enum"} & told.keys()
    assert schema["required"] == ["metaxy/feature"]
