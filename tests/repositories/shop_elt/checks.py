"""Checks: one that blocks, one over several assets, one made in a loop."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from .marts import order_scores


@dg.asset_check(asset=order_scores, blocking=True)
def scores_are_positive(order_scores: pd.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=bool((order_scores["score"] >= 0).all()))


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("volume", asset=["raw", "orders"]),
        dg.AssetCheckSpec("volume", asset=["raw", "customers"]),
    ],
    can_subset=True,
)
def volumes(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    for check in context.selected_asset_check_keys:
        yield dg.AssetCheckResult(asset_key=check.asset_key, check_name=check.name, passed=True)


def _fresh(table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=["marts", table], name="is_fresh", additional_deps=[["raw", "orders"]])
    def is_fresh() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return is_fresh


ALL = [scores_are_positive, volumes, *(_fresh(table) for table in ("fct_orders", "dim_customers"))]
