"""Jobs by every kind of selection, schedules and sensors."""

from collections.abc import Iterator

import dagster as dg

from .marts import order_scores

Selection = dg.AssetSelection

by_group = dg.define_asset_job("ingest", selection=Selection.groups("ingest"))
by_tag = dg.define_asset_job("gold", selection=Selection.tag("tier", "gold"))
by_kind = dg.define_asset_job("dbt", selection="kind:dbt")
by_owner = dg.define_asset_job(
    "sales", selection=Selection.owner("team:sales-ops").downstream() & Selection.groups("marts")
)
by_wildcard = dg.define_asset_job("raw_tables", selection='key:"raw/*"')
by_prefix = dg.define_asset_job("staging", selection=Selection.key_prefixes(["staging"]))
by_lineage = dg.define_asset_job("scores_and_on", selection="order_scores+")
by_key = dg.define_asset_job("just_orders", selection=["raw/orders"])
all_but_exports = dg.define_asset_job(
    "all_but_exports",
    selection=Selection.all() - Selection.groups("exports") - Selection.checks_for_assets(),
    tags={"team": "platform"},
    config={"ops": {"raw__orders": {"config": {"page_size": 50}}}},
)
unscored = dg.define_asset_job(
    "unscored", selection=Selection.all() - Selection.assets(["raw", "orders"]).downstream()
)
checks_only = dg.define_asset_job(
    "checks_only", selection=Selection.checks_for_assets(order_scores)
)


@dg.op
def vacuum() -> None: ...


@dg.job
def maintenance() -> None:
    vacuum()


JOBS = [
    by_group,
    by_tag,
    by_kind,
    by_owner,
    by_wildcard,
    by_prefix,
    by_lineage,
    by_key,
    all_but_exports,
    unscored,
    checks_only,
    maintenance,
]


@dg.schedule(job=by_kind, cron_schedule="0 5 * * *")
def dbt_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key=None, tags={"time": str(context.scheduled_execution_time)})


SCHEDULES = [
    dg.ScheduleDefinition(name="ingest_hourly", job=by_group, cron_schedule="0 * * * *"),
    dg.ScheduleDefinition(
        name="everything_nightly", job=all_but_exports, cron_schedule="0 2 * * *"
    ),
    dg.ScheduleDefinition(name="scores_weekly", target=[order_scores], cron_schedule="0 4 * * 1"),
    dbt_daily,
]


@dg.sensor(job=by_key, minimum_interval_seconds=60)
def new_dump(context: dg.SensorEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key=context.cursor or "first")


@dg.asset_sensor(asset_key=dg.AssetKey(["raw", "orders"]), job=by_kind)
def orders_arrived(
    context: dg.SensorEvaluationContext, asset_event: dg.EventLogEntry
) -> Iterator[dg.RunRequest]:
    yield dg.RunRequest(run_key=context.cursor)


@dg.multi_asset_sensor(
    monitored_assets=[dg.AssetKey(["marts", "fct_orders"]), dg.AssetKey(["order_scores"])],
    job=by_tag,
)
def marts_ready(context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest | None:
    if all(context.latest_materialization_records_by_key().values()):
        context.advance_all_cursors()
        return dg.RunRequest()
    return None


@dg.run_failure_sensor(monitored_jobs=[by_group])
def alert(context: dg.RunFailureSensorContext) -> None: ...


SENSORS = [
    new_dump,
    orders_arrived,
    marts_ready,
    alert,
    dg.AutomationConditionSensorDefinition("eager", target=Selection.groups("scoring")),
]
