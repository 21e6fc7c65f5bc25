"""What a feature class says of the columns of its samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from metaxy_dagster.features.columns import fold
from metaxy_dagster.features.frozen import FrozenMapping

__all__ = ["ClassColumns"]


@dataclass(frozen=True)
class ClassColumns:
    """The columns that a feature class declares.

    A class is open: it says what it knows, and samples may have more columns than it names. It
    is closed if it forbids what it does not name, in pydantic's own words:
    ``model_config = {"extra": "forbid"}``.

    Attributes:
        kinds: column to annotation, in the order of the class.
        required: those without a default.
        is_closed: whether there may be no others, besides the id columns.

    Example:
        >>> from metaxy_dagster.features import BaseFeature, FeatureGraph, FeatureSpec
        >>> with FeatureGraph().use():
        ...     class Clip(BaseFeature, spec=FeatureSpec("clip", id_columns=["clip"])):
        ...         seconds: float
        ...         title: str | None = None
        >>> found = ClassColumns.of(Clip)
        >>> list(found.kinds), found.missing(["clip", "title"]), found.is_closed
        (['seconds', 'title'], ['seconds'], False)
    """

    kinds: Mapping[str, Any] = field(default_factory=FrozenMapping)
    required: frozenset[str] = frozenset()
    is_closed: bool = False

    @classmethod
    def of(cls, feature_class: type | None) -> ClassColumns:
        """Read a feature class; without one, nothing is declared."""
        fields: Mapping[str, Any] = getattr(feature_class, "model_fields", {})
        named = {info.alias or name: info for name, info in fields.items()}
        config: Mapping[str, Any] = getattr(feature_class, "model_config", {})
        return cls(
            FrozenMapping({name: info.annotation for name, info in named.items()}),
            frozenset(name for name, info in named.items() if info.is_required()),
            config.get("extra") == "forbid",
        )

    def missing(self, columns: Iterable[str]) -> list[str]:
        """The required columns that are not among these."""
        there = set(map(fold, columns))
        return [name for name in self.kinds if name in self.required and fold(name) not in there]

    def unknown(self, columns: Iterable[str]) -> list[str]:
        """Those of these columns that the class does not name."""
        known = set(map(fold, self.kinds))
        return [name for name in columns if fold(name) not in known]
