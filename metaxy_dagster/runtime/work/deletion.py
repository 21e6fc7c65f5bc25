"""An op that deletes samples, for jobs that clean up."""

# Annotations are not postponed here: Dagster reads them when the op is made.

import dagster as dg
from pydantic import Field

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import FeatureKey
from metaxy_dagster.runtime.events.report import opened_store

__all__ = ["DeleteSamples", "delete"]


class DeleteSamples(dg.Config):
    """Which samples to delete.

    Example:
        >>> DeleteSamples(feature="video/raw", filters=["height < 240"]).soft
        True
    """

    feature: str = Field(description="The feature's key.")
    filters: list[str] = Field(
        default=[], description='Conditions that must all hold, such as "height < 240".'
    )
    everything: bool = Field(
        default=False, description="Delete all samples; needed where there are no filters."
    )
    soft: bool = Field(default=True, description="Keep the samples in the history.")


@dg.op(
    name="delete_samples",
    required_resource_keys={c.RESOURCE_STORE},
    description="Delete samples of a feature; what is computed from them becomes orphaned.",
)
def delete(context: dg.OpExecutionContext, config: DeleteSamples) -> int:
    """Delete the samples that the op's config names, and say how many they were.

    Raises:
        RunError: no filters, and ``everything`` is not set.
        FeatureError: a filter cannot be read.
        StoreError: no such column.

    Example:
        >>> import metaxy_dagster as mxd
        >>> @dg.job(resource_defs={"store": mxd.MetaxyStoreFromConfigResource(name="dev")})
        ... def clean_up():
        ...     mxd.delete()
        >>> [node.name for node in clean_up.nodes]
        ['delete_samples']
    """
    if not config.filters and not config.everything:
        raise RunError(
            "nothing says which samples to delete",
            feature=config.feature,
            allowed="filters, or everything: true",
            remedy="add filters to the op's config",
        )
    store = opened_store(context.resources.store, context)
    result = store.delete(
        FeatureKey(config.feature), filters=config.filters or None, soft=config.soft
    )
    context.log.info("feature %s: %d samples deleted", config.feature, result.deleted)
    context.add_output_metadata(
        {c.KEY_DELETED: result.deleted, c.KEY_ROW_COUNT: store.count(config.feature)}
    )
    return result.deleted
