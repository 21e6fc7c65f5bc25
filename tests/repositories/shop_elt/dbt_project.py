"""A dbt project in the shape that the dbt integration gives it: one op, many specs, a manifest.

The keys ``dagster_dbt/…`` are what the integration finds its models by again; nobody else may
touch them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from .resources import Warehouse

MANIFEST: Mapping[str, Mapping[str, Any]] = {
    "model.shop.stg_orders": {"parents": [["raw", "orders"]], "schema": "staging"},
    "model.shop.stg_customers": {"parents": [["raw", "customers"]], "schema": "staging"},
    "model.shop.stg_refunds": {"parents": [["raw", "refunds"]], "schema": "staging"},
    "model.shop.fct_orders": {
        "parents": ["model.shop.stg_orders", "model.shop.stg_refunds"],
        "schema": "marts",
        "meta": {"metaxy/feature": "shop/fct_orders", "metaxy/id_columns": ["order_id"]},
        "features": ["shop/orders"],
    },
    "model.shop.dim_customers": {
        "parents": ["model.shop.stg_customers", ["crm", "accounts"]],
        "schema": "marts",
    },
}


def key_of(unique_id: str) -> dg.AssetKey:
    """The asset key of a model."""
    return dg.AssetKey([str(MANIFEST[unique_id]["schema"]), unique_id.rsplit(".", 1)[-1]])


def spec_of(unique_id: str) -> dg.AssetSpec:
    """The spec of a model, from the manifest."""
    node = MANIFEST[unique_id]
    deps = [key_of(p) if isinstance(p, str) else dg.AssetKey(p) for p in node["parents"]]
    meta = dict(node.get("meta", {}))
    if "features" in node:
        meta["metaxy/deps"] = node["features"]
    return dg.AssetSpec(
        key_of(unique_id),
        deps=deps,
        group_name=str(node["schema"]),
        kinds={"dbt", "duckdb"},
        tags={"dagster/storage": "duckdb", "tier": "silver" if "stg" in unique_id else "gold"},
        metadata={
            "dagster_dbt/unique_id": unique_id,
            "dagster_dbt/manifest": "target/manifest.json",
            "dagster_dbt/project": "shop",
            "dagster/table_name": f"shop.{node['schema']}.{key_of(unique_id).path[-1]}",
            **meta,
        },
    )


@dg.multi_asset(
    name="shop_dbt",
    specs=[spec_of(unique_id) for unique_id in MANIFEST],
    check_specs=[
        dg.AssetCheckSpec("not_null_order_id", asset=key_of("model.shop.fct_orders")),
        dg.AssetCheckSpec("unique_customer_id", asset=key_of("model.shop.dim_customers")),
    ],
    can_subset=True,
    op_tags={"dbt/select": "fqn:*"},
    pool="warehouse",
)
def shop_dbt(
    context: dg.AssetExecutionContext, warehouse: Warehouse
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    del warehouse
    # The command line's events, told back by the keys of the manifest.
    for unique_id in MANIFEST:
        key = key_of(unique_id)
        if key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key, metadata={"unique_id": unique_id})
    for check in context.selected_asset_check_keys:
        yield dg.AssetCheckResult(asset_key=check.asset_key, check_name=check.name, passed=True)


ALL = [shop_dbt]
