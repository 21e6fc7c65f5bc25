"""Features: keys, specs, lineage, graph and versions. Plain data; no orchestrator, no database."""

from metaxy_dagster.features.deps import FeatureDep
from metaxy_dagster.features.feature import BaseFeature
from metaxy_dagster.features.fields import (
    DEFAULT_FIELD,
    INITIAL_CODE_VERSION,
    FieldDep,
    FieldSpec,
    SpecialFieldDep,
)
from metaxy_dagster.features.filter_parser import parse_filter
from metaxy_dagster.features.filters import (
    And,
    Between,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Member,
    Not,
    Or,
)
from metaxy_dagster.features.frozen import FrozenMapping, freeze, thaw
from metaxy_dagster.features.given_filters import filter_of
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.features.keys import (
    CoercibleToFeatureKey,
    CoercibleToFieldKey,
    FeatureKey,
    FieldKey,
)
from metaxy_dagster.features.lineage import LineageRelationship
from metaxy_dagster.features.mapping import FieldsMapping
from metaxy_dagster.features.plan import DepPlan, FeaturePlan, FieldPlan, ParentField
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.features.versions import digest

__all__ = [
    "DEFAULT_FIELD",
    "INITIAL_CODE_VERSION",
    "And",
    "BaseFeature",
    "Between",
    "CoercibleToFeatureKey",
    "CoercibleToFieldKey",
    "Compare",
    "DepPlan",
    "FeatureDep",
    "FeatureGraph",
    "FeatureKey",
    "FeaturePlan",
    "FeatureSpec",
    "FieldDep",
    "FieldKey",
    "FieldPlan",
    "FieldSpec",
    "FieldsMapping",
    "Filter",
    "FrozenMapping",
    "In",
    "IsNull",
    "Like",
    "LineageRelationship",
    "Member",
    "Not",
    "Or",
    "ParentField",
    "SpecialFieldDep",
    "digest",
    "filter_of",
    "freeze",
    "parse_filter",
    "thaw",
]
