"""Dependencies: what a feature takes from an upstream, and how their samples relate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.columns import Columns, columns, fold, in_order
from metaxy_dagster.features.expressions import is_expression
from metaxy_dagster.features.filters import Filter
from metaxy_dagster.features.frozen import FrozenMapping
from metaxy_dagster.features.given_filters import filter_of
from metaxy_dagster.features.keys import CoercibleToFeatureKey, FeatureKey
from metaxy_dagster.features.lineage import LineageRelationship
from metaxy_dagster.features.mapping import FieldsMapping
from metaxy_dagster.features.model import FrozenModel

__all__ = ["FeatureDep"]


def _typed(value: object) -> object:
    """``"aggregation"`` stands for ``{"type": "aggregation"}`` in metadata and YAML."""
    return {"type": value} if isinstance(value, str) else value


def _filters(value: object) -> tuple[Filter, ...]:
    if value is None:
        return ()
    one = isinstance(value, str | Filter) or is_expression(value)
    listed = (value,) if one else in_order(value, "filters")
    return tuple(map(filter_of, listed))


def _rename(value: Mapping[str, str]) -> FrozenMapping[str, str]:
    columns(value.keys())
    columns(value.values())
    return FrozenMapping(value)


_Rename = Annotated[
    Mapping[str, str],
    BeforeValidator(lambda value: {} if value is None else value),
    AfterValidator(_rename),
    PlainSerializer(dict, return_type=dict[str, str]),
]


class FeatureDep(FrozenModel):
    """A dependency on an upstream feature.

    The upstream's samples are first renamed, then filtered, then reduced to the selected columns:
    ``filters``, ``select`` and ``lineage`` use the new names.

    Attributes:
        feature: the upstream.
        select: the columns to take besides ids; ``None`` for all.
        rename: upstream column -> name here.
        filters: conditions that its samples must all meet: text, or narwhals expressions.
        fields_mapping: which of its fields the feature's fields are computed from.
        lineage: how its samples relate to those of the feature.
        optional: whether a sample is computed without its upstream sample, too.

    Raises:
        FeatureError: an argument is not valid.

    Example:
        >>> dep = FeatureDep("video", filters="height > 720", rename={"id": "video_id"})
        >>> dep.feature, dep.lineage.type, [str(one) for one in dep.filters]
        (FeatureKey('video'), 'identity', ['height > 720'])
        >>> dep.name_here("id"), dep.name_upstream("video_id")
        ('video_id', 'id')
    """

    feature: FeatureKey
    select: Columns | None = None
    rename: _Rename = Field(default_factory=FrozenMapping)
    filters: Annotated[tuple[Filter, ...], BeforeValidator(_filters)] = ()
    fields_mapping: Annotated[FieldsMapping, BeforeValidator(_typed)] = FieldsMapping.default()
    lineage: Annotated[LineageRelationship, BeforeValidator(_typed)] = (
        LineageRelationship.identity()
    )
    optional: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            feature: CoercibleToFeatureKey,
            *,
            select: Iterable[str] | None = ...,
            rename: Mapping[str, str] | None = ...,
            filters: str | Filter | Iterable[str | Filter] | object | None = ...,
            fields_mapping: FieldsMapping = ...,
            lineage: LineageRelationship = ...,
            optional: bool = ...,
        ) -> None: ...

    @classmethod
    def coerce(cls, value: Any) -> FeatureDep:
        """Read a dependency from what stands for one: a class, key, text, or its arguments.

        Raises:
            FeatureError: it is none of these.

        Example:
            >>> FeatureDep.coerce("audio/clusters") == FeatureDep("audio/clusters")
            True
            >>> FeatureDep.coerce({"feature": "video", "lineage": "aggregation"}).lineage.type
            'aggregation'
        """
        if isinstance(value, FeatureDep):
            return value
        return cls.model_validate(value) if isinstance(value, Mapping) else cls(value)

    def name_here(self, column: str) -> str:
        """The name that an upstream column has in this feature."""
        return self.rename.get(column, column)

    def name_upstream(self, column: str) -> str:
        """The name that a column of this feature has upstream."""
        return next((old for old, new in self.rename.items() if new == column), column)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        gone = {fold(name) for name in self.rename}
        gone -= {fold(name) for name in self.rename.values()}
        used = {
            "select": self.select or (),
            "lineage": self.lineage.on or (),
            "filters": sorted({name for one in self.filters for name in one.columns}),
        }
        for argument, names in used.items():
            old = [name for name in names if fold(name) in gone]
            if old:
                raise FeatureError(
                    f"{self._subject({'feature': self.feature})}: {argument} uses a column by the"
                    " name that it had before it was renamed",
                    found=", ".join(old),
                    remedy="write " + ", ".join(self._renamed(name) for name in old),
                )
        return self

    def _renamed(self, column: str) -> str:
        folded = fold(column)
        return next(new for old, new in self.rename.items() if fold(old) == folded)

    @classmethod
    def _subject(cls, data: Mapping[str, object]) -> str:
        feature = data.get("feature")
        named = isinstance(feature, str | FeatureKey) and feature
        return "dependency" + (f" on {str(feature)!r}" if named else "")
