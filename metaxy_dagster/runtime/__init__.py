"""What runs inside a Dagster process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.late import late_names
from metaxy_dagster.stores.running import tell_inputs_by, tell_run_by

_HOMES = {
    "metaxy_dagster.runtime.automation.automation_condition": ("pending_samples",),
    "metaxy_dagster.runtime.work.batches": ("each_batch",),
    "metaxy_dagster.runtime.io.batching": (
        "batching_op",
        "why_not_in_batches",
    ),
    "metaxy_dagster.runtime.automation.checks": ("build_feature_checks",),
    "metaxy_dagster.runtime.loading.dagster_type": ("feature_to_dagster_type",),
    "metaxy_dagster.runtime.work.deletion": (
        "DeleteSamples",
        "delete",
    ),
    "metaxy_dagster.runtime.work.empties": ("report_empty",),
    "metaxy_dagster.runtime.work.failures": ("report_failures",),
    "metaxy_dagster.runtime.work.pending": ("pending",),
    "metaxy_dagster.runtime.io.io_manager": ("MetaxyIOManager",),
    "metaxy_dagster.runtime.automation.observable": ("observable_metaxy_asset",),
    "metaxy_dagster.runtime.automation.observation_job": (
        "build_metaxy_multi_observation_job",
        "build_metaxy_observation_job",
    ),
    "metaxy_dagster.runtime.resource": ("MetaxyStoreFromConfigResource",),
    "metaxy_dagster.runtime.events.results": (
        "generate_materialize_results",
        "generate_observe_results",
    ),
    "metaxy_dagster.runtime.work.retrying": (
        "RetrySamples",
        "retry",
    ),
    "metaxy_dagster.runtime.automation.selection": ("select_metaxy_assets",),
    "metaxy_dagster.runtime.automation.sensor": ("build_pending_sensor",),
    "metaxy_dagster.runtime.work.skipping": ("skipping_op",),
}

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.features import FeatureKey
    from metaxy_dagster.runtime.automation.automation_condition import pending_samples
    from metaxy_dagster.runtime.automation.checks import build_feature_checks
    from metaxy_dagster.runtime.automation.observable import observable_metaxy_asset
    from metaxy_dagster.runtime.automation.observation_job import (
        build_metaxy_multi_observation_job,
        build_metaxy_observation_job,
    )
    from metaxy_dagster.runtime.automation.selection import select_metaxy_assets
    from metaxy_dagster.runtime.automation.sensor import build_pending_sensor
    from metaxy_dagster.runtime.events.results import (
        generate_materialize_results,
        generate_observe_results,
    )
    from metaxy_dagster.runtime.io.batching import batching_op, why_not_in_batches
    from metaxy_dagster.runtime.io.io_manager import MetaxyIOManager
    from metaxy_dagster.runtime.loading.dagster_type import feature_to_dagster_type
    from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
    from metaxy_dagster.runtime.work.batches import each_batch
    from metaxy_dagster.runtime.work.deletion import DeleteSamples, delete
    from metaxy_dagster.runtime.work.empties import report_empty
    from metaxy_dagster.runtime.work.failures import report_failures
    from metaxy_dagster.runtime.work.pending import pending
    from metaxy_dagster.runtime.work.retrying import RetrySamples, retry
    from metaxy_dagster.runtime.work.skipping import skipping_op

__all__ = [
    "DeleteSamples",
    "MetaxyIOManager",
    "MetaxyStoreFromConfigResource",
    "RetrySamples",
    "batching_op",
    "build_feature_checks",
    "build_metaxy_multi_observation_job",
    "build_metaxy_observation_job",
    "build_pending_sensor",
    "delete",
    "each_batch",
    "feature_to_dagster_type",
    "generate_materialize_results",
    "generate_observe_results",
    "observable_metaxy_asset",
    "pending",
    "pending_samples",
    "report_empty",
    "report_failures",
    "retry",
    "select_metaxy_assets",
    "skipping_op",
    "why_not_in_batches",
]


def _run_id() -> str | None:
    from metaxy_dagster.runtime.calling import current_run_id  # noqa: PLC0415 - brings Dagster

    return current_run_id()


def _inputs() -> Mapping[FeatureKey, str]:
    from metaxy_dagster.runtime.work.run_inputs import current_inputs  # noqa: PLC0415 - brings Dagster

    return current_inputs()


# What an asset writes by itself carries its run, too, and what it is computed with.
tell_run_by(_run_id)
tell_inputs_by(_inputs)

__getattr__, __dir__ = late_names(__name__, _HOMES, __all__)
