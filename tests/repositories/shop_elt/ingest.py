"""The project's own loader: an API, paged, into the warehouse."""

import dagster as dg
import pandas as pd

from .resources import Api, Warehouse


class PageConfig(dg.Config):
    """How much to ask the API for at once."""

    page_size: int = 100


@dg.asset(
    key_prefix=["raw"],
    group_name="ingest",
    kinds={"python", "rest"},
    tags={"tier": "bronze"},
    retry_policy=dg.RetryPolicy(max_retries=2, delay=0),
    # The retrofit: what a sample is, and that a full dump is fine.
    metadata={
        "team": "platform",
        "metaxy/feature": "shop/orders",
        "metaxy/id_columns": ["order_id"],
        "metaxy/fields": {"amount": {"columns": ["amount"]}, "status": {"columns": ["status"]}},
    },
)
def orders(context: dg.AssetExecutionContext, config: PageConfig, api: Api) -> pd.DataFrame:
    context.add_output_metadata({"pages": 1 + 3 // config.page_size})
    return pd.DataFrame(api.orders())


@dg.multi_asset(
    outs={
        "customers": dg.AssetOut(
            key=["raw", "customers"],
            io_manager_key="warehouse_io",
            tags={"tier": "bronze"},
            metadata={"pii": True},
        ),
        "refunds": dg.AssetOut(
            key=["raw", "refunds"],
            tags={"tier": "bronze"},
            is_required=False,
            metadata={
                "metaxy/feature": "shop/refunds",
                "metaxy/id_columns": ["refund_id"],
            },
        ),
    },
    group_name="ingest",
    can_subset=True,
)
def crm_dump(context: dg.AssetExecutionContext, api: Api):
    if "customers" in context.op_execution_context.selected_output_names:
        yield dg.Output(pd.DataFrame(api.customers()), output_name="customers")
    if "refunds" in context.op_execution_context.selected_output_names:
        yield dg.Output(pd.DataFrame(api.refunds()), output_name="refunds")


@dg.asset(key_prefix=["raw"], group_name="ingest", deps=[["web", "clickstream"]])
def sessions(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """Written with SQL, so nothing is returned."""
    warehouse.write("sessions", pd.DataFrame({"session_id": [1, 2]}))
    return dg.MaterializeResult(metadata={"rows": 2})


ALL = [orders, crm_dump, sessions]
