"""Fields mapping: which upstream fields a field is computed from, when it does not say itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.columns import in_order
from metaxy_dagster.features.frozen import FrozenMapping
from metaxy_dagster.features.keys import CoercibleToFieldKey, FieldKey
from metaxy_dagster.features.model import FrozenModel

__all__ = ["FieldsMapping", "FieldsMappingType"]

FieldsMappingType: TypeAlias = Literal["default", "specific", "all", "none"]


def _field_keys(keys: object) -> tuple[FieldKey, ...]:
    """Field keys without repetition, sorted: their order means nothing."""
    return tuple(sorted({FieldKey(key) for key in in_order(keys, "fields")}))  # type: ignore[arg-type] # refused by it


_FieldKeys = Annotated[tuple[FieldKey, ...], BeforeValidator(_field_keys)]
_Mapping = Annotated[
    Mapping[FieldKey, _FieldKeys],
    AfterValidator(FrozenMapping),
    PlainSerializer(
        lambda mapping: {str(key): [str(one) for one in keys] for key, keys in mapping.items()},
        return_type=dict[str, list[str]],
    ),
]


class FieldsMapping(FrozenModel):
    """How the fields of a feature map to those of one upstream.

    Build it with one of the class methods.

    Attributes:
        type: ``"default"``, ``"specific"``, ``"all"`` or ``"none"``.
        mapping: for ``"specific"``: field -> upstream fields.
        match_suffix: for ``"default"``: ``french`` also matches the upstream's ``audio/french``.
        exclude_fields: for ``"default"``: upstream fields that nothing maps to.

    Example:
        >>> mapping = FieldsMapping.specific({"faces": {"frames"}})
        >>> mapping.parents(FieldKey("faces"), [FieldKey("audio"), FieldKey("frames")])
        (FieldKey('frames'),)
    """

    type: FieldsMappingType = "default"
    mapping: _Mapping = Field(default_factory=FrozenMapping)
    match_suffix: bool = False
    exclude_fields: _FieldKeys = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            type: FieldsMappingType = ...,  # noqa: A002 - its name
            *,
            mapping: Mapping[CoercibleToFieldKey, Iterable[CoercibleToFieldKey]] = ...,
            match_suffix: bool = ...,
            exclude_fields: Iterable[CoercibleToFieldKey] = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        if self.mapping and self.type != "specific":
            raise FeatureError(
                f"a fields mapping of type {self.type!r} takes no mapping",
                found=", ".join(map(str, self.mapping)),
                remedy="use FieldsMapping.specific({...})",
            )
        if (self.match_suffix or self.exclude_fields) and self.type != "default":
            raise FeatureError(
                f"a fields mapping of type {self.type!r} does not match by name",
                found="match_suffix or exclude_fields",
                remedy="use FieldsMapping.default(...)",
            )
        return self

    @classmethod
    def default(
        cls, *, match_suffix: bool = False, exclude_fields: Iterable[CoercibleToFieldKey] = ()
    ) -> Self:
        """The upstream field of the same name; all upstream fields where there is none.

        Args:
            match_suffix: match the last parts of an upstream field's key, too.
            exclude_fields: upstream fields that are left out of both rules.

        Example:
            >>> upstream = [FieldKey("audio"), FieldKey("frames")]
            >>> FieldsMapping.default().parents(FieldKey("audio"), upstream)
            (FieldKey('audio'),)
            >>> FieldsMapping.default().parents(FieldKey("faces"), upstream)
            (FieldKey('audio'), FieldKey('frames'))
        """
        return cls("default", match_suffix=match_suffix, exclude_fields=exclude_fields)

    @classmethod
    def specific(cls, mapping: Mapping[CoercibleToFieldKey, Iterable[CoercibleToFieldKey]]) -> Self:
        """Exactly the upstream fields that are listed; none for a field that is not.

        Args:
            mapping: field -> upstream fields.
        """
        return cls("specific", mapping=mapping)

    @classmethod
    def all(cls) -> Self:
        """Every field is computed from all upstream fields."""
        return cls("all")

    @classmethod
    def none(cls) -> Self:
        """No field is computed from this upstream: it only says which samples exist."""
        return cls("none")

    def parents(self, field: FieldKey, upstream: Collection[FieldKey]) -> tuple[FieldKey, ...]:
        """The upstream fields that a field is computed from.

        Args:
            field: a field of the feature that declares the dependency.
            upstream: all fields of the upstream (fastest as a set or mapping).
        """
        if self.type == "none":
            return ()
        if self.type == "all":
            return tuple(upstream)
        if self.type == "specific":
            return tuple(self.mapping.get(field, ()))
        if not self.match_suffix and field in upstream and field not in self.exclude_fields:
            return (field,)
        candidates = tuple(key for key in upstream if key not in self.exclude_fields)
        if self.match_suffix:
            size = len(field.parts)
            return tuple(k for k in candidates if k.parts[-size:] == field.parts) or candidates
        return candidates
