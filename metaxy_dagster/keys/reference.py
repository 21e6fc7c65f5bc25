"""What people and editors read of the metadata keys, made from the model that reads them."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from metaxy_dagster.keys.asset_keys import FIELDS_BY_KEY, AssetKeys, words_of

__all__ = ["json_schema", "page", "table"]

_PAGE: Final = """# Metadata keys

All that an asset's metadata may say of its feature. Values may be plain or wrapped in
`dagster.MetadataValue`. Every value that is not allowed is a fault of the plan, all of them at
once; a key that is nearly one of these is asked about, and other keys that begin with `metaxy/`
are told. [metadata-keys.schema.json](metadata-keys.schema.json) is the same as a JSON schema, for
editors and for YAML that is checked before it is loaded.

This page is made from the model that reads the keys (`make docs`).
"""


def table() -> str:
    """All keys as a Markdown table: key, value, meaning.

    Example:
        >>> table().splitlines()[2]
        '| `metaxy/feature` | `"audio/loudness"` | the feature that the asset carries; ... |'
    """
    rows = [
        f"| `{key}` | {words_of(key).value} | {field.description} |"
        for key, field in FIELDS_BY_KEY.items()
    ]
    return "\n".join(["| key | value | meaning |", "| --- | --- | --- |", *rows, ""])


def page() -> str:
    """The reference page: each key with its values, its default and examples, as Markdown."""
    parts = [_PAGE]
    for key, field in FIELDS_BY_KEY.items():
        default = json.dumps(field.default) if isinstance(field.default, str) else "none"
        meaning = (
            (field.description or "").replace("](docs/", "](").replace("](#", "](../README.md#")
        )
        parts += [
            f"## `{key}`\n",
            f"{meaning[0].upper()}{meaning[1:]}.\n",
            f"- value: {words_of(key).value}",
            f"- default: {default if default == 'none' else f'`{default}`'}",
            *(f'- example: `"{key}": {json.dumps(each)}`' for each in field.examples or ()),
            "",
        ]
    return "\n".join(parts)


def json_schema() -> dict[str, Any]:
    """The keys as a JSON schema (draft 2020-12) of an asset's metadata; other keys are allowed.

    Example:
        >>> json_schema()["properties"]["metaxy/input"]["enum"]
        ['all', 'increment']
    """
    schema = AssetKeys.model_json_schema()
    for one in schema["properties"].values():
        for name in ("words", "title"):
            one.pop(name, None)
        # Releases of pydantic differ in which of the alternatives get the default.
        for part in (one, *one.get("anyOf", ())):
            if part.get("default", "") is None:
                del part["default"]
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "Metadata of a feature asset",
        "type": "object",
        "properties": schema["properties"],
        "required": ["metaxy/feature"],
    }
