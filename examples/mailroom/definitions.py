"""The repository: assets, jobs, and the pass, which adds checks of every feature."""

import dagster as dg

import metaxy_dagster as mxd

from . import assets

scan = dg.define_asset_job("scan", selection=dg.AssetSelection.groups("scanner"))
read = dg.define_asset_job("read", selection=dg.AssetSelection.groups("reader"))
watch = dg.define_asset_job("watch", selection=dg.AssetSelection.assets(assets.typed))
check = dg.define_asset_job("check", selection=dg.AssetSelection.all_asset_checks())

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([assets]),
    jobs=[scan, watch, read, check],
)
defs = mxd.metaxify_definitions(defs, store=assets.room.STORE, checks="all")
