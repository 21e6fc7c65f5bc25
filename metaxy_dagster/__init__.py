"""metaxy-dagster: one call makes a Dagster repository incremental, record by record.

```python
import metaxy_dagster as mxd

defs = mxd.metaxify_definitions(defs)
```

Every public name is found here. Names are imported when they are first used, so that importing
the package costs little beside importing Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaxy_dagster.late import late_names

__version__ = "0.1.0"

_HOMES = {
    "metaxy_dagster.definitions": (
        "MetaxifyPlan",
        "MetaxifySettings",
        "MetaxyTranslator",
        "metaxify",
        "metaxify_definitions",
        "plan_definitions",
    ),
    "metaxy_dagster.errors": (
        "ConfigError",
        "DefinitionsError",
        "DeletionRefusedError",
        "FeatureError",
        "FrameError",
        "AssetError",
        "MetaxyError",
        "MetaxyErrorGroup",
        "RunError",
        "StoreBusyError",
        "StoreError",
    ),
    "metaxy_dagster.features": (
        "BaseFeature",
        "FeatureDep",
        "FeatureGraph",
        "FeatureKey",
        "FeatureSpec",
        "FieldDep",
        "FieldKey",
        "FieldSpec",
        "FieldsMapping",
        "LineageRelationship",
    ),
    "metaxy_dagster.runtime": (
        "DeleteSamples",
        "MetaxyIOManager",
        "MetaxyStoreFromConfigResource",
        "RetrySamples",
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
        "pending_samples",
        "report_empty",
        "report_failures",
        "retry",
        "select_metaxy_assets",
    ),
    "metaxy_dagster.stores": (
        "CompactionResult",
        "Counts",
        "DuckDBMetadataStore",
        "FailureResult",
        "IdMigration",
        "Increment",
        "MetadataStore",
        "MetaxyConfig",
        "StoreConfig",
        "AlterResult",
        "AlterResult",
        "WriteResult",
        "init",
        "load_config",
    ),
}

if TYPE_CHECKING:
    from metaxy_dagster.definitions import (
        MetaxifyPlan,
        MetaxifySettings,
        MetaxyTranslator,
        metaxify,
        metaxify_definitions,
        plan_definitions,
    )
    from metaxy_dagster.errors import (
        AssetError,
        ConfigError,
        DefinitionsError,
        DeletionRefusedError,
        FeatureError,
        FrameError,
        MetaxyError,
        MetaxyErrorGroup,
        RunError,
        StoreBusyError,
        StoreError,
    )
    from metaxy_dagster.features import (
        BaseFeature,
        FeatureDep,
        FeatureGraph,
        FeatureKey,
        FeatureSpec,
        FieldDep,
        FieldKey,
        FieldsMapping,
        FieldSpec,
        LineageRelationship,
    )
    from metaxy_dagster.runtime import (
        DeleteSamples,
        MetaxyIOManager,
        MetaxyStoreFromConfigResource,
        RetrySamples,
        build_feature_checks,
        build_metaxy_multi_observation_job,
        build_metaxy_observation_job,
        build_pending_sensor,
        delete,
        each_batch,
        feature_to_dagster_type,
        generate_materialize_results,
        generate_observe_results,
        observable_metaxy_asset,
        pending_samples,
        report_empty,
        report_failures,
        retry,
        select_metaxy_assets,
    )
    from metaxy_dagster.stores import (
        AlterResult,
        CompactionResult,
        Counts,
        DuckDBMetadataStore,
        FailureResult,
        IdMigration,
        Increment,
        MetadataStore,
        MetaxyConfig,
        StoreConfig,
        WriteResult,
        init,
        load_config,
    )


__all__ = [
    "AlterResult",
    "AssetError",
    "BaseFeature",
    "CompactionResult",
    "ConfigError",
    "Counts",
    "DefinitionsError",
    "DeleteSamples",
    "DeletionRefusedError",
    "DuckDBMetadataStore",
    "FailureResult",
    "FeatureDep",
    "FeatureError",
    "FeatureGraph",
    "FeatureKey",
    "FeatureSpec",
    "FieldDep",
    "FieldKey",
    "FieldSpec",
    "FieldsMapping",
    "FrameError",
    "IdMigration",
    "Increment",
    "LineageRelationship",
    "MetadataStore",
    "MetaxifyPlan",
    "MetaxifySettings",
    "MetaxyConfig",
    "MetaxyError",
    "MetaxyErrorGroup",
    "MetaxyIOManager",
    "MetaxyStoreFromConfigResource",
    "MetaxyTranslator",
    "RetrySamples",
    "RunError",
    "StoreBusyError",
    "StoreConfig",
    "StoreError",
    "WriteResult",
    "__version__",
    "build_feature_checks",
    "build_metaxy_multi_observation_job",
    "build_metaxy_observation_job",
    "build_pending_sensor",
    "delete",
    "each_batch",
    "feature_to_dagster_type",
    "generate_materialize_results",
    "generate_observe_results",
    "init",
    "load_config",
    "metaxify",
    "metaxify_definitions",
    "observable_metaxy_asset",
    "pending_samples",
    "plan_definitions",
    "report_empty",
    "report_failures",
    "retry",
    "select_metaxy_assets",
]

__getattr__, __dir__ = late_names(__name__, _HOMES, __all__)
