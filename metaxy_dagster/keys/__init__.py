"""Metadata keys: all that an asset may say of its feature, read once. No Dagster, no store."""

from metaxy_dagster.keys.asset_keys import AssetKeys, Value
from metaxy_dagster.keys.check_names import CHECK_NAMES, CheckName, check_names
from metaxy_dagster.keys.inline import declares_feature, spec_from_metadata
from metaxy_dagster.keys.input_keys import MISSING, InputKeys, resource_version
from metaxy_dagster.keys.parsing import ParsedKeys, named_feature, names_feature, parse

__all__ = [
    "CHECK_NAMES",
    "MISSING",
    "AssetKeys",
    "CheckName",
    "InputKeys",
    "ParsedKeys",
    "Value",
    "check_names",
    "declares_feature",
    "named_feature",
    "names_feature",
    "parse",
    "resource_version",
    "spec_from_metadata",
]
