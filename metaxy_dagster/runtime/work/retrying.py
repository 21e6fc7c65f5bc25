"""An op that takes failed samples out of quarantine."""

# Annotations are not postponed here: Dagster reads them when the op is made.

import dagster as dg
from pydantic import Field

from metaxy_dagster import constants as c
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime.events.report import opened_store

__all__ = ["RetrySamples", "retry"]


class RetrySamples(dg.Config):
    """Which failed samples are pending again.

    Example:
        >>> RetrySamples(feature="video/faces", filters=["metaxy_error_type = 'TimeoutError'"])
        RetrySamples(feature='video/faces', filters=["metaxy_error_type = 'TimeoutError'"])
    """

    feature: str = Field(description="The feature's key.")
    filters: list[str] = Field(
        default=[],
        description="Conditions that must all hold, by the columns of store.failures(); none "
        "for all failed samples.",
    )


@dg.op(
    name="retry_samples",
    required_resource_keys={c.RESOURCE_STORE},
    description="Forget failures of a feature's samples, so that they are pending again.",
)
def retry(context: dg.OpExecutionContext, config: RetrySamples) -> int:
    """Forget the failures that the op's config names, and say how many they were.

    Raises:
        FeatureError: a filter cannot be read.
        StoreError: no such column.

    Example:
        >>> import metaxy_dagster as mxd
        >>> @dg.job(resource_defs={"store": mxd.MetaxyStoreFromConfigResource(name="dev")})
        ... def try_again():
        ...     mxd.retry()
        >>> [node.name for node in try_again.nodes]
        ['retry_samples']
    """
    store = opened_store(context.resources.store, context)
    forgotten = store.retry(FeatureKey(config.feature), filters=config.filters or None)
    context.log.info("feature %s: %d samples are pending again", config.feature, forgotten)
    return forgotten
