"""The feature graphs of the benchmark, as plain data that every engine reads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SHAPES", "Dep", "Feature", "Shape"]

PER_GROUP = 10
_CHAIN = 10


@dataclass(frozen=True)
class Dep:
    """A dependency of one feature on another.

    Attributes:
        feature: the upstream's key.
        lineage: ``identity``, ``aggregation`` or ``expansion``.
        on: the id columns that both sides share.
    """

    feature: str
    lineage: str
    on: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """A feature: a root if it has no deps.

    Attributes:
        key: also its table's name.
        ids: BIGINT columns.
        fields: a derived feature's fields depend on all fields of its upstreams.
        deps: its upstreams.
        path: the root's column beside its ids; not part of its provenance.
    """

    key: str
    ids: tuple[str, ...]
    fields: tuple[str, ...]
    deps: tuple[Dep, ...] = ()
    path: str = "path"

    @property
    def samples(self) -> tuple[str, ...]:
        """The ids by which an increment names its rows: the parent's in an expansion."""
        if self.deps and self.deps[0].lineage == "expansion":
            return self.deps[0].on
        return self.ids


@dataclass(frozen=True)
class Shape:
    """A graph whose features are listed upstreams first; the last one is the leaf.

    Attributes:
        name: as on the command line.
        features: all features.
        unit: the column whose value decides whether a row changes.
    """

    name: str
    features: tuple[Feature, ...]
    unit: str = "id"

    @property
    def roots(self) -> tuple[Feature, ...]:
        """The features that are written from outside."""
        return tuple(feature for feature in self.features if not feature.deps)

    @property
    def derived(self) -> tuple[Feature, ...]:
        """The features that are resolved."""
        return tuple(feature for feature in self.features if feature.deps)

    @property
    def leaf(self) -> Feature:
        """The feature whose resolve is measured."""
        return self.features[-1]

    def feature(self, key: str) -> Feature:
        """A feature by its key."""
        return next(feature for feature in self.features if feature.key == key)

    def samples(self, size: int) -> int:
        """How many samples the leaf's increment has if all are new."""
        return size if self.leaf.samples == ("id",) else size // PER_GROUP


def _identity(*keys: str) -> tuple[Dep, ...]:
    return tuple(Dep(key, "identity", ("id",)) for key in keys)


_FOUR = ("audio", "frames", "labels", "text")
_LINKS = tuple(
    Feature(f"f{i}", ("id",), ("value",), _identity("root" if i == 1 else f"f{i - 1}"))
    for i in range(1, _CHAIN)
)
_VIDEO = ("video",)
_CLIP = ("video", "clip")

SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "simple",
            (
                Feature("root", ("id",), ("audio", "frames")),
                Feature("leaf", ("id",), ("embedding",), _identity("root")),
            ),
        ),
        Shape(
            "wide",
            (
                Feature("root_a", ("id",), _FOUR, path="path_a"),
                Feature("root_b", ("id",), _FOUR, path="path_b"),
                Feature("leaf", ("id",), ("score", "summary"), _identity("root_a", "root_b")),
            ),
        ),
        Shape("chain", (Feature("root", ("id",), ("audio", "frames")), *_LINKS)),
        Shape(
            "aggregation",
            (
                Feature("root", _CLIP, ("audio", "frames")),
                Feature("leaf", _VIDEO, ("digest",), (Dep("root", "aggregation", _VIDEO),)),
            ),
            unit="video",
        ),
        Shape(
            "expansion",
            (
                Feature("root", _VIDEO, ("audio", "frames")),
                Feature("leaf", _CLIP, ("crop",), (Dep("root", "expansion", _VIDEO),)),
            ),
            unit="video",
        ),
    )
}
