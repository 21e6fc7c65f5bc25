"""Feature specs: all that is declared of a feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from metaxy_dagster.errors import FeatureError, shown
from metaxy_dagster.features.columns import Columns, check_distinct, in_order
from metaxy_dagster.features.deps import FeatureDep
from metaxy_dagster.features.fields import DEFAULT_FIELD, FieldSpec, SpecialFieldDep
from metaxy_dagster.features.frozen import FrozenMapping, freeze, thaw
from metaxy_dagster.features.keys import (
    CoercibleToFeatureKey,
    CoercibleToFieldKey,
    FeatureKey,
    FieldKey,
)
from metaxy_dagster.features.model import FrozenModel, did_you_mean
from metaxy_dagster.features.text import check_encodable

__all__ = ["FeatureSpec"]


def _fields(value: object) -> tuple[FieldSpec, ...]:
    if isinstance(value, Mapping):
        listed = tuple(_named_field(name, given) for name, given in value.items())
    else:
        listed = tuple(_field(one) for one in in_order(value, "fields"))
    return listed or (FieldSpec(DEFAULT_FIELD),)


def _field(value: Any) -> FieldSpec:
    if isinstance(value, FieldSpec):
        return value
    return FieldSpec.model_validate(value) if isinstance(value, Mapping) else FieldSpec(value)


def _named_field(name: Any, given: Any) -> FieldSpec:
    """An entry of a mapping: a field's arguments, its code version alone, or nothing."""
    if given is None:
        return FieldSpec(name)
    if not isinstance(given, Mapping):
        return FieldSpec(name, code_version=given)
    return FieldSpec.model_validate({"key": name, **given})


def _deps(value: object) -> tuple[FeatureDep, ...]:
    return tuple(map(FeatureDep.coerce, in_order(value, "deps")))


class FeatureSpec(FrozenModel):
    """The declaration of a feature.

    Attributes:
        key: its name.
        id_columns: the columns that identify a sample; at least one.
        fields: its fields; one named ``default`` if none are given.
        deps: its upstreams; none for a root feature.
        metadata: anything that JSON can hold, read-only.
        description: what it is, for people.

    Fields may be given as :class:`FieldSpec`, as names, or as a mapping of names to code versions
    or to a FieldSpec's arguments; deps as :class:`FeatureDep`, class, key or text.

    Raises:
        FeatureError: an argument is not valid.

    Example:
        >>> spec = FeatureSpec(
        ...     "video/faces",
        ...     id_columns=["video_id"],
        ...     fields=["faces", FieldSpec("count", code_version="2")],
        ...     deps=["video/raw"],
        ... )
        >>> [str(field.key) for field in spec.fields], spec.deps[0].feature
        (['faces', 'count'], FeatureKey('video/raw'))
        >>> FeatureSpec.model_validate(spec.model_dump(mode="json")) == spec
        True
    """

    key: FeatureKey
    id_columns: Columns
    fields: Annotated[tuple[FieldSpec, ...], BeforeValidator(_fields)] = (FieldSpec(DEFAULT_FIELD),)
    deps: Annotated[tuple[FeatureDep, ...], BeforeValidator(_deps)] = ()
    metadata: Annotated[
        Mapping[str, Any],
        BeforeValidator(lambda value: {} if value is None else value),
        AfterValidator(freeze),
        PlainSerializer(thaw, return_type=dict[str, Any]),
    ] = Field(default_factory=FrozenMapping)
    description: Annotated[
        str | None, AfterValidator(lambda text: text and check_encodable(text, "the text"))
    ] = None

    if TYPE_CHECKING:

        def __init__(
            self,
            key: CoercibleToFeatureKey,
            *,
            id_columns: Iterable[str],
            fields: Iterable[FieldSpec | CoercibleToFieldKey] | Mapping[str, object] = ...,
            deps: Iterable[FeatureDep | CoercibleToFeatureKey] = ...,
            metadata: Mapping[str, Any] | None = ...,
            description: str | None = ...,
        ) -> None: ...

    @cached_property
    def fields_by_key(self) -> Mapping[FieldKey, FieldSpec]:
        """The fields, by their keys."""
        return FrozenMapping({field.key: field for field in self.fields})

    @cached_property
    def deps_by_key(self) -> Mapping[FeatureKey, FeatureDep]:
        """The dependencies, by their upstreams."""
        return FrozenMapping({dep.feature: dep for dep in self.deps})

    def with_code_version(self, version: str) -> FeatureSpec:
        """The same feature, with a code version for the fields that were given none.

        Example:
            >>> spec = FeatureSpec("faces", id_columns=["id"], fields={"faces": "7", "count": None})
            >>> [field.code_version for field in spec.with_code_version("2").fields]
            ['7', '2']
        """
        if all(field.has_code_version or field.code_version == version for field in self.fields):
            return self
        fields = [
            field if field.has_code_version else field.with_code_version(version)
            for field in self.fields
        ]
        return FeatureSpec(
            self.key,
            id_columns=self.id_columns,
            fields=fields,
            deps=self.deps,
            metadata=self.metadata,
            description=self.description,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.id_columns:
            raise FeatureError(
                "id_columns is empty",
                feature=str(self.key),
                allowed="at least one column that identifies a sample",
                remedy='name it: id_columns=["sample_id"]',
            )
        try:
            check_distinct([str(field.key) for field in self.fields], "fields")
            self._check_deps()
            self._check_field_deps()
        except FeatureError as error:
            raise error.located(feature=str(self.key)) from None
        return self

    def _check_deps(self) -> None:
        seen: set[FeatureKey] = set()
        for dep in self.deps:
            if dep.feature == self.key:
                raise FeatureError(
                    "the feature depends on itself",
                    found=f"deps contains {str(dep.feature)!r}",
                    remedy="drop this dependency",
                )
            if dep.feature in seen:
                raise FeatureError(
                    "two dependencies on one feature",
                    found=f"{str(dep.feature)!r} twice in deps",
                    remedy="merge them into one FeatureDep; to pair samples of one feature with "
                    f"each other, declare a feature of its own with deps=[{str(dep.feature)!r}] "
                    "for the other side, and depend on both",
                )
            seen.add(dep.feature)
            for field in dep.fields_mapping.mapping:
                if field not in self.fields_by_key:
                    raise FeatureError(
                        f"the fields mapping of the dependency on {str(dep.feature)!r} names a"
                        " field that this feature does not have",
                        found=f"{str(field)!r}",
                        allowed=", ".join(map(str, self.fields_by_key)),
                        remedy=did_you_mean(field, self.fields_by_key, "add the field"),
                    )

    def _check_field_deps(self) -> None:
        for field in self.fields:
            if field.deps is None or isinstance(field.deps, SpecialFieldDep):
                continue
            for dep in field.deps:
                if dep.feature not in self.deps_by_key:
                    raise FeatureError(
                        f"field {str(field.key)!r} depends on a feature that is not in deps",
                        found=f"{str(dep.feature)!r}",
                        allowed=", ".join(map(str, self.deps_by_key)) or "no feature",
                        remedy=did_you_mean(
                            dep.feature, self.deps_by_key, f"add {str(dep.feature)!r} to deps"
                        ),
                    )

    @classmethod
    def _feature(cls, data: Mapping[str, object]) -> str | None:
        key = data.get("key")
        try:
            return None if key is None else str(FeatureKey(key))  # type: ignore[arg-type] # refused by it
        except FeatureError:
            return key if isinstance(key, str) else shown(key)
