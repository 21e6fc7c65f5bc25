"""A component that loads a repository and ties it to its features."""

# Annotations are not postponed here: Dagster derives the YAML schema from them.

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import dagster as dg

from metaxy_dagster.components.metaxy.models import (
    FeatureModel,
    SettingsModel,
    resolve_features,
    resolve_settings,
)
from metaxy_dagster.components.metaxy.scaffolder import MetaxyScaffolder
from metaxy_dagster.definitions import (
    MetaxifySettings,
    MetaxyTranslator,
    MetaxyTranslatorData,
    metaxify_definitions,
)
from metaxy_dagster.definitions._compat import LazyDefinitions
from metaxy_dagster.definitions.settings import AssetKeys
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource

__all__ = ["MetaxyComponent"]


@dg.scaffold_with(MetaxyScaffolder)
@dataclass
class MetaxyComponent(dg.Component, dg.Resolvable):
    """Load a repository's definitions and tie its assets to their features.

    The target's jobs, schedules, sensors, checks and resources come along. Keep it outside the
    `defs` folder, or beside this component's file: what the folder loads by itself would be
    there twice.

    Example:
        ```yaml
        type: metaxy_dagster.components.MetaxyComponent
        attributes:
          target: my_project.repository:defs
          features:
            - key: video/raw
              id_columns: [video_id]
        ```
    """

    target: Annotated[
        str,
        dg.Resolver.default(
            description="Where the definitions are, as `package.module:name`; a leading dot "
            "starts at the component's own folder. A Definitions object or a function that "
            "returns one.",
            examples=["my_project.repository:defs", ".repository:defs"],
        ),
    ]
    # FeatureSpecs and feature classes; Dagster takes no pydantic models of ours in annotations.
    features: Annotated[
        Sequence[Any],
        dg.Resolver(
            resolve_features,
            model_field_type=Sequence[FeatureModel],
            description="Features that are declared here, in addition to those that the "
            "target's code and its assets declare.",
            examples=[[{"key": "video/raw", "id_columns": ["video_id"]}]],
        ),
    ] = field(default_factory=list)
    store: Annotated[
        str | None,
        dg.Resolver.default(
            description="The file of an embedded metadata store. By default the configured "
            "store, or a file in the Dagster instance's storage directory.",
            examples=["data/metaxy.duckdb"],
        ),
    ] = None
    store_name: Annotated[
        str | None,
        dg.Resolver.default(
            description="The name of a configured metadata store (`metaxy.toml`).",
            examples=["dev"],
        ),
    ] = None
    asset_keys: Annotated[
        AssetKeys,
        dg.Resolver.default(
            description="`keep` the assets' keys, or give them those of their `feature` and "
            "rewrite every reference.",
            examples=["keep"],
        ),
    ] = "keep"
    inject_code_version: Annotated[
        bool,
        dg.Resolver.default(
            description="Whether assets without a code version get their feature's; this marks "
            "what was materialized before as stale, once.",
            examples=[True],
        ),
    ] = True
    settings: Annotated[
        MetaxifySettings | None,
        dg.Resolver(
            resolve_settings,
            model_field_type=SettingsModel,
            description="What is brought from features to assets, and what is left alone.",
            examples=[{"selection_drift": "report"}],
        ),
    ] = None

    def get_asset_spec(self, data: MetaxyTranslatorData) -> dg.AssetSpec:
        """What a feature brings to its asset; to be overridden in a subclass.

        Args:
            data: what is known of the feature and the asset.

        Returns:
            A spec whose attributes fill the gaps of the target's asset.

        Example:
            >>> class InGroup(MetaxyComponent):
            ...     def get_asset_spec(self, data):
            ...         return super().get_asset_spec(data).replace_attributes(group_name="video")
        """
        return MetaxyTranslator(self._settings).get_asset_spec(data)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Load the target and run the pass over it.

        Raises:
            DefinitionsError: the target cannot be found, or is no Definitions.
            FeatureError: a feature is declared here and elsewhere in different ways.
            MetaxyErrorGroup: every fault of the target.
        """
        # The target first: feature classes in its modules register when they are imported.
        defs = self._load_target(context)
        graph = FeatureGraph.current().copy()
        for spec in self.features:
            graph.add(spec)
        return metaxify_definitions(
            defs,
            features=graph,
            store=self._store(),
            translator=_ComponentTranslator(settings=self._settings, component=self),
            asset_keys=self.asset_keys,
        )

    @property
    def _settings(self) -> MetaxifySettings:
        settings = self.settings or MetaxifySettings()
        if self.inject_code_version:
            return settings
        return replace(settings, enable_code_versions=False)

    def _store(self) -> MetaxyStoreFromConfigResource | str | None:
        if self.store is not None and self.store_name is not None:
            raise DefinitionsError(
                "the component names two stores",
                found=f"store: {self.store}, store_name: {self.store_name}",
                allowed="one of them, or none",
                remedy="remove store or store_name",
            )
        if self.store_name is not None:
            return MetaxyStoreFromConfigResource(name=self.store_name)
        return self.store

    def _load_target(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        module_name, colon, name = self.target.partition(":")
        if not (module_name and colon and name):
            raise self._refused(repr(self.target), "write it as package.module:name")
        if module_name.startswith("."):
            module_name = context.defs_relative_module_name(context.path) + module_name
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            if not hasattr(found, part):
                raise self._refused(f"no {name!r} in {module_name}", "correct the name")
            found = getattr(found, part)
        if isinstance(found, LazyDefinitions):
            found = found(context)
        elif callable(found):
            found = found()
        if not isinstance(found, dg.Definitions):
            raise self._refused(
                f"{type(found).__name__}: {found!r}", "name what holds or returns the Definitions"
            )
        return found

    def _refused(self, found: str, remedy: str) -> DefinitionsError:
        return DefinitionsError(
            f"the component's target {self.target!r} is no Definitions",
            found=found,
            allowed="package.module:name of a dagster.Definitions, or of a function without "
            "parameters that returns them",
            remedy=remedy,
        )


@dataclass(frozen=True)
class _ComponentTranslator(MetaxyTranslator):
    """Asks the component, so that a subclass of it can say what its features bring."""

    component: MetaxyComponent = field(kw_only=True)

    def get_asset_spec(self, data: MetaxyTranslatorData) -> dg.AssetSpec:
        return self.component.get_asset_spec(data)
