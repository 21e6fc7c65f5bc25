"""Python on top of the warehouse: scores, a report, an export."""

import dagster as dg
import pandas as pd

from .resources import Warehouse


@dg.asset(
    group_name="scoring",
    kinds={"python"},
    tags={"tier": "gold", "cost": "high"},
    ins={"orders": dg.AssetIn(key=["raw", "orders"])},
    automation_condition=dg.AutomationCondition.eager(),
    # The retrofit: the slow model only sees orders whose amount changed.
    metadata={
        "model": "v3",
        "metaxy/feature": "shop/order_scores",
        "metaxy/id_columns": ["order_id"],
        "metaxy/fields": {"score": {"deps": [{"feature": "shop/orders", "fields": ["amount"]}]}},
        "metaxy/input": "increment",
    },
)
def order_scores(orders: pd.DataFrame) -> pd.DataFrame:
    return orders[["order_id"]].assign(score=orders["amount"] / 100)


@dg.asset(group_name="scoring", tags={"tier": "gold"})
def score_report(order_scores: pd.DataFrame) -> dict[str, float]:
    """A plain asset that loads a feature's whole table."""
    return {"mean": float(order_scores["score"].mean())}


@dg.asset(
    group_name="exports",
    deps=[["marts", "fct_orders"], ["marts", "dim_customers"], "score_report"],
    required_resource_keys={"warehouse"},
)
def finance_export(context: dg.AssetExecutionContext) -> None:
    warehouse: Warehouse = context.resources.warehouse
    warehouse.write("finance_export", pd.DataFrame({"n": [1]}))


@dg.asset(group_name="exports", ins={"customers": dg.AssetIn(key=["raw", "customers"])})
def crm_push(customers: pd.DataFrame) -> int:
    return len(customers)


ALL = [order_scores, score_report, finance_export, crm_push]
