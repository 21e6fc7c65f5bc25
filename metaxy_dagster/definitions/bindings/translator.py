"""From a feature to what Dagster shows of it: one method that users override."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import (
    KEY_COLUMN_LINEAGE,
    KEY_COLUMN_SCHEMA,
    KEY_DAGSTER_ATTRIBUTES,
    KEY_FEATURE,
    KEY_INFO,
    KEY_PREVIEW,
    KIND,
    TAG_FEATURE,
    TAG_PROJECT,
)
from metaxy_dagster.definitions.bindings.describe import (
    asset_info,
    class_description,
    column_lineage,
    column_schema,
)
from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
from metaxy_dagster.definitions.settings import MetaxifySettings
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features.frozen import thaw
from metaxy_dagster.features.tags import feature_tag, tag_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["MetaxyTranslator", "attributes_of_feature", "feature_asset_key"]

_TEXT: Final = (str,)
_LIST: Final = (list,)
_ATTRIBUTES: Final[Mapping[str, tuple[type, ...]]] = {
    "asset_key": (*_TEXT, *_LIST),
    "code_version": _TEXT,
    "description": _TEXT,
    "group_name": _TEXT,
    "kinds": _LIST,
    "owners": _LIST,
    "tags": (dict,),
}


@dataclass(frozen=True)
class MetaxyTranslator:
    """Says what a feature brings to the asset that carries it.

    The pass merges the spec that :meth:`get_asset_spec` returns into the user's asset: what the
    user set wins, lists and mappings are merged. Override the method to change what is brought.

    Args:
        settings: which parts are brought at all.

    Example:
        >>> class InGroup(MetaxyTranslator):
        ...     def get_asset_spec(self, data):
        ...         return super().get_asset_spec(data).replace_attributes(group_name="features")
        >>> InGroup().settings.enable_descriptions
        True
    """

    settings: MetaxifySettings = field(default_factory=MetaxifySettings)

    def get_asset_spec(self, data: MetaxyTranslatorData) -> dg.AssetSpec:
        """The asset spec that the feature alone would give.

        Its key is used where assets are renamed after their features (``asset_keys="feature"``).

        Args:
            data: what is known of the feature and the asset.

        Returns:
            A spec whose attributes fill the gaps of the user's asset.

        Raises:
            DefinitionsError: the feature's ``dagster/attributes`` are not valid.
        """
        settings = self.settings
        attributes = attributes_of_feature(data.spec) if settings.enable_attributes else {}
        deps = (
            [dg.AssetDep(key) for keys in data.upstream.values() for key in keys]
            if settings.enable_deps
            else []
        )
        return dg.AssetSpec(
            key=feature_asset_key(data.spec),
            deps=[dep for dep in deps if dep.asset_key != feature_asset_key(data.spec)],
            description=self._description(data, attributes),
            group_name=attributes.get("group_name"),
            owners=list(attributes.get("owners", ())),
            kinds={*attributes.get("kinds", ()), *({KIND} if settings.enable_kinds else ())},
            tags={**self._tags(data), **attributes.get("tags", {})},
            code_version=(
                attributes.get("code_version", data.code_version)
                if settings.enable_code_versions
                else None
            ),
            metadata=self._metadata(data),
        )

    def _description(self, data: MetaxyTranslatorData, attributes: Mapping[str, Any]) -> str | None:
        if not self.settings.enable_descriptions:
            return None
        return (
            attributes.get("description")
            or data.spec.description
            or class_description(data.feature_class)
        )

    def _tags(self, data: MetaxyTranslatorData) -> dict[str, str]:
        if not self.settings.enable_tags:
            return {}
        project = None if data.project is None else tag_value(data.project)
        values = {TAG_FEATURE: feature_tag(str(data.spec.key)), TAG_PROJECT: project}
        return {tag: value for tag, value in values.items() if value is not None}

    def _metadata(self, data: MetaxyTranslatorData) -> dict[str, Any]:
        settings = self.settings
        metadata: dict[str, Any] = {
            KEY_FEATURE: str(data.spec.key),
            KEY_INFO: asset_info(data),
        }
        if not settings.enable_preview:
            metadata[KEY_PREVIEW] = False  # also where the asset reports what it wrote itself
        if settings.enable_column_schema:
            metadata[KEY_COLUMN_SCHEMA] = column_schema(data.spec, data.feature_class)
        if settings.enable_column_lineage:
            lineage = column_lineage(data)
            if lineage is not None:
                metadata[KEY_COLUMN_LINEAGE] = lineage
        if settings.enable_metadata:
            own = thaw(data.spec.metadata)
            metadata = {**own, **metadata}
            metadata.pop(KEY_DAGSTER_ATTRIBUTES, None)
        return metadata


def feature_asset_key(spec: FeatureSpec) -> dg.AssetKey:
    """The asset key that a feature asks for: its ``asset_key`` attribute, else its own key.

    Raises:
        DefinitionsError: the feature's ``dagster/attributes`` are not valid.
    """
    if KEY_DAGSTER_ATTRIBUTES not in spec.metadata:
        return dg.AssetKey(list(spec.key.parts))
    asked = attributes_of_feature(spec).get("asset_key")
    if asked is None:
        return dg.AssetKey(list(spec.key.parts))
    if isinstance(asked, str):
        return dg.AssetKey.from_user_string(asked)
    return dg.AssetKey([str(part) for part in asked])


def attributes_of_feature(spec: FeatureSpec) -> Mapping[str, Any]:
    """The checked ``dagster/attributes`` of a feature's metadata.

    Raises:
        DefinitionsError: they are no mapping, or hold an unknown name or a value of a wrong type.
    """
    attributes = thaw(spec.metadata.get(KEY_DAGSTER_ATTRIBUTES, {}))
    where = str(spec.key)
    if not isinstance(attributes, dict):
        raise DefinitionsError(
            f"{KEY_DAGSTER_ATTRIBUTES} is not a mapping",
            feature=where,
            found=repr(attributes),
            allowed=f"a mapping of {', '.join(_ATTRIBUTES)}",
            remedy="give the attributes by name",
        )
    for name, value in attributes.items():
        if name not in _ATTRIBUTES:
            raise DefinitionsError(
                f"{KEY_DAGSTER_ATTRIBUTES} has no attribute {name!r}",
                feature=where,
                found=name,
                allowed=", ".join(_ATTRIBUTES),
                remedy="remove it, or override MetaxyTranslator.get_asset_spec",
            )
        wanted = _ATTRIBUTES[name]
        if value is not None and not isinstance(value, wanted):
            raise DefinitionsError(
                f"the attribute {name!r} in {KEY_DAGSTER_ATTRIBUTES} has a wrong type",
                feature=where,
                found=repr(value),
                allowed=" or ".join(each.__name__ for each in wanted),
                remedy=f"change {name!r} in the feature's metadata",
            )
    return {name: value for name, value in attributes.items() if value is not None}
