"""Plans: what a store needs to know of a feature and its upstreams, all names resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metaxy_dagster.features.deps import FeatureDep
from metaxy_dagster.features.keys import FeatureKey, FieldKey
from metaxy_dagster.features.lineage import LineageType
from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["DepPlan", "FeaturePlan", "FieldPlan", "ParentField"]


@dataclass(frozen=True, slots=True, order=True)
class ParentField:
    """An upstream field that a field is computed from.

    Example:
        >>> str(ParentField(FeatureKey("video/raw"), FieldKey("audio")))
        'video/raw:audio'
    """

    feature: FeatureKey
    field: FieldKey

    def __str__(self) -> str:
        # No key holds a colon, so the qualified name reads back in one way only.
        return f"{self.feature}:{self.field}"


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """A field, with all that its version and the provenance of its samples depend on.

    Attributes:
        key: the field.
        code_version: its own code version.
        version: its static version, 32 hex digits.
        parents: the upstream fields it is computed from, sorted.
    """

    key: FieldKey
    code_version: str
    version: str
    parents: tuple[ParentField, ...]


@dataclass(frozen=True, slots=True)
class DepPlan:
    """A dependency, with the columns that join it.

    Attributes:
        dep: the dependency as declared.
        upstream: the upstream's spec.
        lineage_type: ``"identity"``, ``"aggregation"`` or ``"expansion"``.
        join_columns: the id columns that both sides share, by their names in this feature, in the
            order of its id columns.
        member_columns: for an aggregation, the upstream's id columns by their names upstream:
            what tells the members of a group apart. Else empty.
        used_fields: the upstream fields that some field is computed from, in the order in which
            the upstream declares them.
        source_columns: join column here -> its name upstream.
    """

    dep: FeatureDep
    upstream: FeatureSpec
    lineage_type: LineageType
    join_columns: tuple[str, ...]
    member_columns: tuple[str, ...]
    used_fields: tuple[FieldKey, ...]
    source_columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """A feature and how it follows from its upstreams.

    Attributes:
        spec: the feature's spec.
        deps: one plan per dependency, in the order of the spec.
        fields: one plan per field, in the order of the spec.
    """

    spec: FeatureSpec
    deps: tuple[DepPlan, ...]
    fields: tuple[FieldPlan, ...]

    @property
    def key(self) -> FeatureKey:
        """The feature's key."""
        return self.spec.key

    @property
    def is_root(self) -> bool:
        """Whether the feature has no upstream."""
        return not self.deps
