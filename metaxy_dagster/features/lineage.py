"""Lineage: how the samples of a feature relate to those of an upstream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from pydantic import model_validator

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.columns import Columns
from metaxy_dagster.features.model import FrozenModel

__all__ = ["LineageRelationship", "LineageType"]

LineageType: TypeAlias = Literal["identity", "aggregation", "expansion"]


class LineageRelationship(FrozenModel):
    """One to one, many to one or one to many.

    Attributes:
        type: ``"identity"``, ``"aggregation"`` or ``"expansion"``.
        on: the columns, by the names that they have in the feature that declares the dependency,
            that both sides share; ``None`` for the default of the type.

    Example:
        >>> LineageRelationship.aggregation(on=["sensor_id", "hour"])
        LineageRelationship(type='aggregation', on=('sensor_id', 'hour'))
    """

    type: LineageType
    on: Columns | None = None

    if TYPE_CHECKING:

        def __init__(self, type: LineageType, *, on: Iterable[str] | None = ...) -> None: ...  # noqa: A002 - its name

    @model_validator(mode="after")
    def _check_on(self) -> Self:
        if self.on is None:
            return self
        if self.type == "identity":
            raise FeatureError(
                "identity lineage takes no columns: it joins on the upstream's id columns",
                found=f"on={list(self.on)}",
                remedy="drop on=, or use LineageRelationship.aggregation or .expansion",
            )
        if not self.on:
            raise FeatureError(
                f"{self.type} lineage on no column",
                found="on=[]",
                allowed="one or more of the feature's id columns",
                remedy="name the columns, or leave on= out",
            )
        return self

    @classmethod
    def identity(cls) -> Self:
        """One to one: a sample is computed from the upstream sample with the same ids.

        The upstream's id columns must be among the feature's own.

        Example:
            >>> LineageRelationship.identity().type
            'identity'
        """
        return cls("identity")

    @classmethod
    def aggregation(cls, on: Iterable[str] | None = None) -> Self:
        """Many to one: a sample is computed from a group of upstream samples.

        Args:
            on: the columns that tell the group, id columns of the feature; by default those that
                are also id columns of the upstream.

        Example:
            >>> LineageRelationship.aggregation().on is None
            True
        """
        return cls("aggregation", on=on)

    @classmethod
    def expansion(cls, on: Iterable[str] | None = None) -> Self:
        """One to many: one upstream sample (the parent) gives several samples.

        Args:
            on: the columns that tell the parent, id columns of the feature; by default the id
                columns of the upstream.

        Example:
            >>> LineageRelationship.expansion(on=["video_id"]).on
            ('video_id',)
        """
        return cls("expansion", on=on)
