"""Nothing of the old repository is touched: keys say what a sample is, one call does the rest."""

import dagster as dg

import metaxy_dagster as mxd
from papers_legacy import definitions as legacy

INCREMENT = {"metaxy/input": "increment"}
KEYS = {"papers": {}, "words": INCREMENT, "signatures": INCREMENT, "catalogue": INCREMENT}


def with_keys(spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    feature = {"metaxy/feature": name, "metaxy/id_columns": ["name"]}
    return spec.merge_attributes(metadata=feature | KEYS[name])


assets = dg.map_asset_specs(with_keys, dg.load_assets_from_modules([legacy]))
defs = mxd.metaxify_definitions(dg.Definitions(assets=assets))
