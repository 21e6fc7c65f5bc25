"""The feature graph: features by key, their order, plans and versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from graphlib import CycleError, TopologicalSorter
from typing import Self

from pydantic import BaseModel

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.difference import difference
from metaxy_dagster.features.keys import (
    CoercibleToFeatureKey,
    CoercibleToFieldKey,
    FeatureKey,
    FieldKey,
)
from metaxy_dagster.features.model import did_you_mean
from metaxy_dagster.features.plan import FeaturePlan, ParentField
from metaxy_dagster.features.planning import make_plan
from metaxy_dagster.features.specs import FeatureSpec
from metaxy_dagster.features.versions import code_version, feature_version

__all__ = ["FeatureGraph"]


class FeatureGraph:
    """Features that may depend on each other.

    A feature may be added before its upstreams; what is missing is reported when a plan or a
    version is asked for. A spec is never replaced, and a plan exists only once all of its
    upstreams do: so what was computed once stays right, and each edge is looked at once.

    Example:
        >>> graph = FeatureGraph()
        >>> _ = graph.add(FeatureSpec("faces", id_columns=["id"], deps=["video"]))
        >>> _ = graph.add(FeatureSpec("video", id_columns=["id"]))
        >>> graph.topological_order()
        (FeatureKey('video'), FeatureKey('faces'))
        >>> len(graph.feature_version("faces")), "faces" in graph
        (32, True)
    """

    def __init__(self) -> None:
        self._specs: dict[FeatureKey, FeatureSpec] = {}
        self._classes: dict[FeatureKey, type[BaseModel]] = {}
        self._inline: dict[FeatureKey, FeatureSpec] = {}
        self._downstream: dict[FeatureKey, list[FeatureKey]] = {}
        self._order: dict[FeatureKey, int] | None = None
        self._plans: dict[FeatureKey, FeaturePlan] = {}
        self._field_versions: dict[ParentField, str] = {}
        self._feature_versions: dict[FeatureKey, str] = {}
        self._code_versions: dict[FeatureKey, str] = {}

    # ------------------------------------------------------------------------------- contents
    def add(self, feature: FeatureSpec | type[BaseModel], *, inline: bool = False) -> FeatureSpec:
        """Add a feature; adding an equal spec again changes nothing.

        Args:
            feature: a spec or a feature class.
            inline: whether it was read from the metadata keys of one asset, and may be read anew
                where more is known, see :meth:`without_inline`.

        Returns:
            The feature's spec.

        Raises:
            FeatureError: the key is taken by a different spec (the error shows the difference),
                or it is neither a spec nor a feature class.

        Example:
            >>> graph = FeatureGraph()
            >>> graph.add(FeatureSpec("video", id_columns=["id"])).key
            FeatureKey('video')
        """
        spec = _spec_of(feature)
        known = self._specs.get(spec.key)
        if known is None:
            self._specs[spec.key] = known = spec
            self._order = None
            if inline:
                self._inline[spec.key] = spec
            for dep in spec.deps:
                self._downstream.setdefault(dep.feature, []).append(spec.key)
        elif known != spec:
            raise FeatureError(
                "declared twice, in different ways",
                feature=str(spec.key),
                found="; ".join(difference(known, spec)),
                allowed="one declaration, or equal ones",
                remedy="keep one of them, or isolate them: with FeatureGraph().use(): …",
            )
        if isinstance(feature, type):
            self._classes[spec.key] = feature
        return known

    def __getitem__(self, key: CoercibleToFeatureKey) -> FeatureSpec:
        wanted = FeatureKey(key)
        if wanted not in self._specs:
            raise self._unknown(wanted)
        return self._specs[wanted]

    def __contains__(self, key: object) -> bool:
        try:
            return FeatureKey(key) in self._specs  # type: ignore[arg-type] # refused by it
        except FeatureError:
            return False

    def __iter__(self) -> Iterator[FeatureKey]:
        return iter(tuple(self._specs))

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<FeatureGraph of {len(self)} features>"

    def feature_class(self, key: CoercibleToFeatureKey) -> type[BaseModel] | None:
        """The class that declares a feature, if a class does.

        Raises:
            FeatureError: no such feature.
        """
        return self._classes.get(self[key].key)

    def copy(self) -> Self:
        """A graph of the same features, to which others can be added.

        Example:
            >>> graph = FeatureGraph()
            >>> _ = graph.copy().add(FeatureSpec("video", id_columns=["id"]))
            >>> len(graph)
            0
        """
        state = {name: dict(value) for name, value in vars(self).items() if name != "_order"}
        state["_downstream"] = {key: list(keys) for key, keys in self._downstream.items()}
        twin = type(self)()
        vars(twin).update(state)
        return twin

    def without_inline(self) -> tuple[Self, tuple[FeatureSpec, ...]]:
        """A copy without the features that single assets declared, and these.

        Whoever sees all assets reads their keys anew: what an asset depends on follows from
        which of its deps are features, and one asset alone may not know all of these.

        Example:
            >>> graph = FeatureGraph()
            >>> _ = graph.add(FeatureSpec("video", id_columns=["id"]), inline=True)
            >>> copy, (video,) = graph.without_inline()
            >>> len(copy), str(video.key)
            (0, 'video')
        """
        if not self._inline:
            return self.copy(), ()
        twin = type(self)()
        for key, spec in self._specs.items():
            if key not in self._inline:
                twin.add(self._classes.get(key, spec))
        return twin, tuple(self._inline.values())

    def absorb(self, other: FeatureGraph) -> bool:
        """Add all features of another graph, unless one contradicts those that are here.

        Returns:
            Whether they are here now; if not, nothing was added.

        Example:
            >>> FeatureGraph().absorb(FeatureGraph())
            True
        """
        missing = [spec for key, spec in other._specs.items() if self._specs.get(key) != spec]
        if any(spec.key in self._specs for spec in missing):
            return False
        twin = self.copy()
        for spec in missing:
            twin.add(spec)
        vars(twin)["_classes"].update(other._classes)
        try:
            twin.topological_order()
        except FeatureError:
            return False
        vars(self).update(vars(twin))
        return True

    def with_code_versions(self, versions: Mapping[FeatureKey, str]) -> Self:
        """The same features, with code versions for the fields that were given none.

        Args:
            versions: by feature, the code version of such fields.

        Returns:
            Another graph; this very one where nothing changes.

        Example:
            >>> graph = FeatureGraph()
            >>> _ = graph.add(FeatureSpec("faces", id_columns=["id"], fields=["a", "b"]))
            >>> _ = graph.add(FeatureSpec("video", id_columns=["id"]))
            >>> twin = graph.with_code_versions({FeatureKey("faces"): "2"})
            >>> [field.code_version for field in twin["faces"].fields]
            ['2', '2']
        """
        named = [spec for key, spec in self._specs.items() if key in versions]
        return self.with_specs({s.key: s.with_code_version(versions[s.key]) for s in named})

    def with_specs(self, specs: Mapping[FeatureKey, FeatureSpec]) -> Self:
        """The same features, some of them declared otherwise; this very graph if none is."""
        if all(self._specs[key] == spec for key, spec in specs.items()):
            return self
        twin = type(self)()
        for key, spec in self._specs.items():
            twin.add(specs.get(key, spec))
        vars(twin).update(_classes=dict(self._classes), _inline=dict(self._inline))
        return twin

    # --------------------------------------------------------------------------------- edges
    def upstream(self, key: CoercibleToFeatureKey) -> tuple[FeatureKey, ...]:
        """The features that a feature depends on directly, declared or not.

        Raises:
            FeatureError: no such feature.
        """
        return tuple(dep.feature for dep in self[key].deps)

    def downstream(self, key: CoercibleToFeatureKey) -> tuple[FeatureKey, ...]:
        """The features that depend on a feature directly; it may itself be undeclared.

        Raises:
            FeatureError: no feature has this key or depends on it.

        Example:
            >>> graph = FeatureGraph()
            >>> _ = graph.add(FeatureSpec("faces", id_columns=["id"], deps=["video"]))
            >>> graph.downstream("video")
            (FeatureKey('faces'),)
        """
        wanted = FeatureKey(key)
        if wanted not in self._downstream and wanted not in self._specs:
            raise self._unknown(wanted)
        return tuple(self._downstream.get(wanted, ()))

    def topological_order(
        self, keys: Iterable[CoercibleToFeatureKey] | None = None
    ) -> tuple[FeatureKey, ...]:
        """Features with every upstream before its downstreams.

        The order does not depend on the order in which features were added.

        Args:
            keys: the features to order; by default all.

        Raises:
            FeatureError: no such feature, or features depend on each other in a circle.
        """
        if self._order is None:
            self._order = {key: i for i, key in enumerate(self._sorted(self._specs))}
        if keys is None:
            return tuple(self._order)
        return tuple(sorted({self[key].key for key in keys}, key=self._order.__getitem__))

    # --------------------------------------------------------------------- plans and versions
    def plan(self, key: CoercibleToFeatureKey) -> FeaturePlan:
        """A feature with its dependencies resolved.

        Raises:
            FeatureError: no such feature, an upstream is missing, features depend on each other
                in a circle, or id columns, fields and lineage contradict each other.
        """
        wanted = self[key].key
        if wanted not in self._plans:
            for each in self._sorted(self._unplanned(wanted)):
                self._make(each)
        return self._plans[wanted]

    def feature_version(self, key: CoercibleToFeatureKey) -> str:
        """The version of a feature: of its fields, and so of all they are computed from.

        Returns:
            32 hex digits.

        Raises:
            FeatureError: as for :meth:`plan`.
        """
        return self._feature_versions[self.plan(key).key]

    def field_version(self, key: CoercibleToFeatureKey, field: CoercibleToFieldKey) -> str:
        """The version of a field: of its code, and of the fields it is computed from.

        Returns:
            32 hex digits.

        Raises:
            FeatureError: as for :meth:`plan`, or the feature has no such field.
        """
        spec = self.plan(key).spec
        wanted = FieldKey(field)
        if wanted not in spec.fields_by_key:
            raise FeatureError(
                "no such field",
                feature=str(spec.key),
                found=repr(str(wanted)),
                allowed=", ".join(map(str, spec.fields_by_key)),
                remedy=did_you_mean(wanted, spec.fields_by_key, "add the field to the spec"),
            )
        return self._field_versions[ParentField(spec.key, wanted)]

    def code_version(self, key: CoercibleToFeatureKey) -> str:
        """The version of a feature's own code, whatever happens upstream.

        Returns:
            32 hex digits.

        Raises:
            FeatureError: no such feature.
        """
        spec = self[key]
        if spec.key not in self._code_versions:
            self._code_versions[spec.key] = code_version(spec)
        return self._code_versions[spec.key]

    def _make(self, key: FeatureKey) -> None:
        plan = make_plan(self._specs[key], self._specs, self._field_versions)
        for field in plan.fields:
            self._field_versions[ParentField(key, field.key)] = field.version
        self._feature_versions[key] = feature_version(key, plan.fields)
        self._plans[key] = plan

    def _unplanned(self, key: FeatureKey) -> set[FeatureKey]:
        """The feature and those of its ancestors that have no plan yet."""
        found = {key}
        waiting = [key]
        while waiting:
            current = waiting.pop()
            for dep in self._specs[current].deps:
                if dep.feature not in self._specs:
                    raise self._missing(current, dep.feature)
                if dep.feature not in found and dep.feature not in self._plans:
                    found.add(dep.feature)
                    waiting.append(dep.feature)
        return found

    def _unknown(self, key: FeatureKey) -> FeatureError:
        return FeatureError(
            "no such feature",
            feature=str(key),
            allowed=f"one of the {len(self)} features of the graph",
            remedy=did_you_mean(key, self._specs, "declare the feature"),
        )

    def _missing(self, key: FeatureKey, upstream: FeatureKey) -> FeatureError:
        return FeatureError(
            "depends on a feature that is not declared",
            feature=str(key),
            found=repr(str(upstream)),
            allowed=f"one of the {len(self)} features of the graph",
            remedy=did_you_mean(upstream, self._specs, f"declare {str(upstream)!r}"),
        )

    def _sorted(self, keys: Iterable[FeatureKey]) -> Iterator[FeatureKey]:
        """Upstreams first, the same in every process; what is not among the keys is left out."""
        ordered = sorted(keys)
        among = set(ordered)
        sorter: TopologicalSorter[FeatureKey] = TopologicalSorter()
        for key in ordered:
            sorter.add(key, *(d.feature for d in self._specs[key].deps if d.feature in among))
        try:
            sorter.prepare()
        except CycleError as error:
            raise _circle(error.args[1]) from None
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            yield from ready
            sorter.done(*ready)

    # --------------------------------------------------------------------------- the current
    @classmethod
    def current(cls) -> FeatureGraph:
        """The graph that feature classes register on: one per process, unless ``use`` is active."""
        return _CURRENT.get()

    @contextmanager
    def use(self) -> Iterator[Self]:
        """Make this the current graph inside a ``with`` block (and thread, and task).

        Example:
            >>> with FeatureGraph().use() as graph:
            ...     FeatureGraph.current() is graph
            True
        """
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)


_CURRENT: ContextVar[FeatureGraph] = ContextVar("metaxy_feature_graph", default=FeatureGraph())  # noqa: B039 - see current()


def _spec_of(feature: object) -> FeatureSpec:
    spec = feature.spec() if isinstance(feature, type) and hasattr(feature, "spec") else feature
    if isinstance(spec, FeatureSpec):
        return spec
    raise FeatureError(
        "neither a spec nor a feature class",
        found=f"{feature!r} of type {type(feature).__name__}",
        allowed="a FeatureSpec, or a subclass of BaseFeature",
        remedy="wrap it: FeatureSpec(key, id_columns=[...])",
    )


def _circle(path: list[FeatureKey]) -> FeatureError:
    """Name a circle from its first key in order, each key before one that depends on it."""
    keys = path[:-1]
    first = keys.index(min(keys))
    named = [*keys[first:], *keys[: first + 1]]
    return FeatureError(
        "features depend on each other in a circle",
        feature=str(named[0]),
        found=" -> ".join(map(str, named)) + " (each is an upstream of the next)",
        remedy="drop one of these dependencies",
    )
