"""Jobs with config, partitions, hooks; schedules from partitions; a backfilling sensor."""

import dagster as dg

from .data import days, labellers, sites
from .training import model, predictions


@dg.success_hook
def tell(context: dg.HookContext) -> None:
    context.log.info("done")


@dg.failure_hook
def cry(context: dg.HookContext) -> None:
    context.log.error("failed")


intake = dg.define_asset_job(
    "intake",
    selection=dg.AssetSelection.groups("intake") - dg.AssetSelection.assets("running_total"),
    partitions_def=days,
    hooks={tell, cry},
    config={"ops": {"cut": {"config": {"size": 64}}}},
)
per_site = dg.define_asset_job("per_site", selection="cameras", partitions_def=sites)
relabel = dg.define_asset_job("relabel", selection="group:labels", partitions_def=labellers)
train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.assets(model).upstream(depth=1).required_multi_asset_neighbors(),
    config={"ops": {"model": {"config": {"epochs": 2}}}},
    executor_def=dg.in_process_executor,
    op_retry_policy=dg.RetryPolicy(max_retries=1),
    tags={"dagster/priority": "3"},
)
embed_all = dg.define_asset_job("embed_all", selection="group:embeddings or group:training")
wild = dg.define_asset_job("wild", selection='key:"*_set"')
rest = dg.define_asset_job(
    "not_after_embeddings",
    selection=dg.AssetSelection.groups("embeddings", "training")
    - dg.AssetSelection.assets("embeddings").downstream(include_self=False),
)


@dg.op
def clean_disk() -> None: ...


@dg.job(hooks={cry})
def housekeeping() -> None:
    clean_disk()


JOBS = [intake, per_site, relabel, train, embed_all, wild, rest, housekeeping]
SCHEDULES = [
    dg.build_schedule_from_partitioned_job(intake, name="intake_daily", hour_of_day=3),
    dg.ScheduleDefinition(name="train_weekly", job=train, cron_schedule="0 0 * * 0"),
    dg.ScheduleDefinition(
        name="predict",
        target=[predictions],
        cron_schedule="30 * * * *",
    ),
]


@dg.sensor(job=relabel)
def new_labeller(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    return dg.SensorResult(
        dynamic_partitions_requests=[labellers.build_add_request(["ann"])],
        run_requests=[dg.RunRequest(partition_key="ann")],
    )


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS, monitored_jobs=[train], request_job=embed_all
)
def after_training(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    return dg.RunRequest()


SENSORS = [new_labeller, after_training]
