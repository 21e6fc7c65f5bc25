"""What other teams' tools load: declared in every style that the project had over the years."""

import dagster as dg

# A connector's tables, declared in a loop.
CONNECTOR = [
    dg.AssetSpec(
        ["crm", table],
        group_name="crm",
        kinds={"salesforce"},
        owners=["team:sales-ops"],
        description=f"{table} as the connector lands them",
        metadata={"connector/id": f"sf_{table}"},
    )
    for table in ("accounts", "contacts", "opportunities")
]

# From before there were specs.
currency_rates = dg.SourceAsset(
    key=["finance", "currency_rates"],
    group_name="finance",
    io_manager_key="warehouse_io",
    metadata={"owner": "treasury"},
)


@dg.observable_source_asset(group_name="web", key=["web", "clickstream"])
def clickstream() -> dg.DataVersion:
    return dg.DataVersion("2024-05-01")


ALL = [*CONNECTOR, currency_rates, clickstream]
