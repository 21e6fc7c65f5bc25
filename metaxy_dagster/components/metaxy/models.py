"""What YAML may say: features and settings, each field with its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from metaxy_dagster.definitions.settings import Drift, FailedRows, IORouting, MetaxifySettings
from metaxy_dagster.errors import MetaxyError, MetaxyErrorGroup
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.keys import AssetKeys

__all__ = ["FeatureModel", "SettingsModel", "resolve_features", "resolve_settings"]

_DEFAULTS = MetaxifySettings()
_KEYS = AssetKeys.model_fields


class FeatureModel(dg.Model, dg.Resolvable):
    """A feature in YAML: the arguments of a FeatureSpec.

    Example:
        >>> model = FeatureModel(key="video/faces", id_columns=["video_id"], deps=["video/raw"])
        >>> model.deps
        ['video/raw']
    """

    key: str = Field(description="Its key.", examples=["video/faces"])
    id_columns: Sequence[str] = Field(
        description=_KEYS["id_columns"].description, examples=_KEYS["id_columns"].examples
    )
    fields: Sequence[str | Mapping[str, Any]] | Mapping[str, str | Mapping[str, Any]] | None = (
        Field(
            default=None,
            description=_KEYS["fields"].description,
            examples=_KEYS["fields"].examples,
        )
    )
    deps: Sequence[str | Mapping[str, Any]] = Field(
        default=(),
        description="The features it is computed from: keys, or the arguments of a FeatureDep.",
        examples=_KEYS["deps"].examples,
    )
    metadata: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Metadata of the feature; `dagster/attributes` holds group_name, owners, "
        "tags and others for the assets that carry it.",
        examples=[{"dagster/attributes": {"group_name": "video"}}],
    )
    description: str | None = Field(default=None, description="What it is, for people.")


class SettingsModel(dg.Model, dg.Resolvable):
    """The settings of the pass in YAML.

    Example:
        >>> SettingsModel(enable_kinds=False).enable_kinds
        False
    """

    enable_asset_code_versions: bool = Field(
        default=_DEFAULTS.enable_asset_code_versions,
        description="Take an asset's own code version for that of the fields of its feature that "
        "have none, so that a new one recomputes its samples.",
    )
    enable_attributes: bool = Field(
        default=_DEFAULTS.enable_attributes,
        description="Bring group, owners, tags and kinds of a feature's `dagster/attributes`.",
    )
    enable_code_versions: bool = Field(
        default=_DEFAULTS.enable_code_versions,
        description="Bring the feature's code version where an asset has none; this marks "
        "existing materializations stale once.",
    )
    enable_column_lineage: bool = Field(
        default=_DEFAULTS.enable_column_lineage,
        description="Bring column lineage from the features' fields.",
    )
    enable_column_schema: bool = Field(
        default=_DEFAULTS.enable_column_schema,
        description="Bring the column schema of the feature.",
    )
    enable_deps: bool = Field(
        default=_DEFAULTS.enable_deps,
        description="Bring deps on the assets that carry the upstream features.",
    )
    enable_descriptions: bool = Field(
        default=_DEFAULTS.enable_descriptions,
        description="Bring the feature's description where an asset has none.",
    )
    enable_kinds: bool = Field(
        default=_DEFAULTS.enable_kinds, description="Bring the kind `metaxy`."
    )
    enable_metadata: bool = Field(
        default=_DEFAULTS.enable_metadata, description="Bring the feature's own metadata."
    )
    enable_preview: bool = Field(
        default=_DEFAULTS.enable_preview,
        description="Show some rows, and the samples that failed, in events; an asset's own "
        "`metaxy/preview` wins.",
    )
    enable_skipping: bool = Field(
        default=_DEFAULTS.enable_skipping,
        description="Leave the body of an asset with `metaxy/input: increment` out of runs in "
        "which nothing is pending.",
    )
    enable_tags: bool = Field(
        default=_DEFAULTS.enable_tags,
        description="Bring the tags `metaxy/feature` and `metaxy/project`.",
    )
    checks: str | Sequence[str] = Field(
        default=_DEFAULTS.checks,
        description="Asset checks of feature assets: `none`, `all`, or a list of `pending`, "
        "`orphaned`, `failed`, `schema` and `unique_ids`; an asset's own `metaxy/checks` wins.",
        examples=["all", ["pending", "schema"]],
    )
    failed_rows: FailedRows = Field(
        default=_DEFAULTS.failed_rows,
        description="What becomes of rows that an earlier run made of samples that fail: `keep` "
        "them, `delete` them, or `raise`; an asset's own `metaxy/failed_rows` wins.",
    )
    io_manager_key: str = Field(
        default=_DEFAULTS.io_manager_key,
        description="The resource that outputs of feature assets are routed to.",
    )
    io_routing: IORouting = Field(
        default=_DEFAULTS.io_routing,
        description="`keep` what the repository's own IO managers store where it is, wrapped, "
        "and route the rest; `route` every output whose asset chose no IO manager; "
        "`respect_default`: as `route`, but the repository's own `io_manager` counts as a choice; "
        "or `off`.",
    )
    max_deleted_share: float = Field(
        default=_DEFAULTS.max_deleted_share,
        description="The share of a feature's samples that a run may delete when it replaces "
        "them; an asset's own `metaxy/max_deleted_share` wins.",
    )
    max_failed_samples: int = Field(
        default=_DEFAULTS.max_failed_samples,
        ge=1,
        description='How many samples of one run may be set aside where `"metaxy/on_error"` is '
        "`quarantine`; an asset's own `metaxy/max_failed_samples` wins.",
    )
    pending_condition: bool = Field(
        default=_DEFAULTS.pending_condition,
        description="Give assets without an automation condition one that requests them while "
        "samples are pending, and add the sensor that evaluates it.",
    )
    pending_sensor: bool | Mapping[str, Any] = Field(
        default=False,
        description="Add a sensor that requests runs for features with pending samples: `true`, "
        "or its options.",
        examples=[True, {"minimum_interval_seconds": 300, "default_status": "RUNNING"}],
    )
    project: str | None = Field(
        default=_DEFAULTS.project,
        description="The value of the tag `metaxy/project`; by default the configured one.",
    )
    selection_drift: Drift = Field(
        default=_DEFAULTS.selection_drift,
        description="When a job's selection would come to mean other assets: `freeze` it, "
        "`report` it, or make it an `error`.",
    )
    unannotated: str | None = Field(
        default=_DEFAULTS.unannotated,
        description="What arguments without an annotation get of a feature: `narwhals`, `polars`, "
        "`polars_lazy`, `pandas`, `pyarrow` or `duckdb`.",
        examples=["pandas"],
    )


def resolve_features(
    context: dg.ResolutionContext, models: Sequence[FeatureModel]
) -> list[FeatureSpec]:
    """The specs that YAML declares.

    Raises:
        MetaxyErrorGroup: every declaration that is not valid.
    """
    specs: list[FeatureSpec] = []
    errors: list[MetaxyError] = []
    for model in models:
        given = context.resolve_value(model.model_dump(exclude_unset=True))
        try:
            specs.append(FeatureSpec.model_validate(given))
        except MetaxyError as error:
            errors.append(error.located(feature=model.key))
    if errors:
        count = len(errors)
        raise MetaxyErrorGroup(
            f"{count} feature{'s' if count > 1 else ''} in YAML cannot be read", errors
        )
    return specs


def resolve_settings(context: dg.ResolutionContext, model: SettingsModel) -> MetaxifySettings:
    """The settings that YAML gives."""
    return MetaxifySettings(**context.resolve_value(model.model_dump()))
