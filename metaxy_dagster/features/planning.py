"""Making the plan of one feature from its spec and the plans of its upstreams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.fields import FieldDep, FieldSpec, SpecialFieldDep
from metaxy_dagster.features.frozen import FrozenMapping
from metaxy_dagster.features.joins import Join, join
from metaxy_dagster.features.keys import FeatureKey, FieldKey
from metaxy_dagster.features.model import did_you_mean
from metaxy_dagster.features.plan import DepPlan, FeaturePlan, FieldPlan, ParentField
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.features.versions import field_version

__all__ = ["make_plan"]


def make_plan(
    spec: FeatureSpec,
    upstreams: Mapping[FeatureKey, FeatureSpec],
    versions: Mapping[ParentField, str],
) -> FeaturePlan:
    """Resolve the names and compute the field versions of one feature.

    Args:
        spec: the feature.
        upstreams: at least the features it depends on.
        versions: at least the versions of their fields.

    Raises:
        FeatureError: id columns and lineage contradict each other, or a field is mapped to an
            upstream field that does not exist.
    """
    joins = join(spec, [upstreams[dep.feature] for dep in spec.deps])
    parents = {
        field.key: tuple(sorted(set(_parents(spec, field, upstreams)))) for field in spec.fields
    }
    used = {parent for several in parents.values() for parent in several}
    return FeaturePlan(
        spec=spec,
        deps=tuple(_dep_plan(one, upstreams[one.dep.feature], used) for one in joins),
        fields=tuple(
            FieldPlan(
                key=field.key,
                code_version=field.code_version,
                version=field_version(
                    field.key,
                    field.code_version,
                    ((parent, versions[parent]) for parent in parents[field.key]),
                ),
                parents=parents[field.key],
            )
            for field in spec.fields
        ),
    )


def _dep_plan(one: Join, upstream: FeatureSpec, used: set[ParentField]) -> DepPlan:
    lineage = one.dep.lineage.type
    return DepPlan(
        dep=one.dep,
        upstream=upstream,
        lineage_type=lineage,
        join_columns=one.columns,
        # By name: the order in which they are declared says nothing.
        member_columns=tuple(sorted(upstream.id_columns)) if lineage == "aggregation" else (),
        used_fields=tuple(
            field.key for field in upstream.fields if ParentField(upstream.key, field.key) in used
        ),
        source_columns=FrozenMapping({name: one.dep.name_upstream(name) for name in one.columns}),
    )


def _parents(
    spec: FeatureSpec, field: FieldSpec, upstreams: Mapping[FeatureKey, FeatureSpec]
) -> Iterator[ParentField]:
    """What a field says itself, or else what the mapping of each dependency says for it."""
    if field.deps is None:
        for dep in spec.deps:
            upstream = upstreams[dep.feature]
            for key in dep.fields_mapping.parents(field.key, upstream.fields_by_key):
                yield _known(spec, field, upstream, key)
        return
    deps = (
        tuple(FieldDep(dep.feature) for dep in spec.deps)
        if isinstance(field.deps, SpecialFieldDep)
        else field.deps
    )
    for named in deps:
        upstream = upstreams[named.feature]
        keys = upstream.fields_by_key if isinstance(named.fields, SpecialFieldDep) else named.fields
        for key in keys:
            yield _known(spec, field, upstream, key)


def _known(
    spec: FeatureSpec, field: FieldSpec, upstream: FeatureSpec, key: FieldKey
) -> ParentField:
    if key in upstream.fields_by_key:
        return ParentField(upstream.key, key)
    raise FeatureError(
        f"field {str(field.key)!r} is computed from a field that {str(upstream.key)!r} lacks",
        feature=str(spec.key),
        found=repr(str(key)),
        allowed=", ".join(map(str, upstream.fields_by_key)),
        remedy=did_you_mean(key, upstream.fields_by_key, f"add the field to {str(upstream.key)!r}"),
    )
