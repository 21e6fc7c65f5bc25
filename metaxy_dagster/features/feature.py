"""Feature classes: a spec together with the columns and their types."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel

from metaxy_dagster.errors import FeatureError
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import columns
from metaxy_dagster.features.graph import FeatureGraph
from metaxy_dagster.features.keys import CoercibleToFieldKey
from metaxy_dagster.features.model import did_you_mean
from metaxy_dagster.features.specs import FeatureSpec

__all__ = ["BaseFeature"]

_NOT_GIVEN: Any = object()
_RESERVED = ("code_version", "feature_version", "field_version", "spec")


class BaseFeature(BaseModel):
    """Base of feature classes; the pydantic fields of a class are the feature's columns.

    A class registers on the graph that is current where it is defined. It declares what it knows:
    types, descriptions, which columns there should be. Samples may have more columns than it
    names, and it may leave out the id columns. With ``model_config = {"extra": "forbid"}`` it is
    closed: frames with other columns, or without the required ones, are refused. ``spec=None``
    makes an abstract base, whose columns its subclasses share. A column that has the name of one
    of the methods here needs an alias: ``spec_: str = Field(alias="spec")``.

    Raises:
        FeatureError: from the ``class`` statement, if the spec and the columns contradict each
            other, or the key is taken by a different spec.

    Example:
        >>> with FeatureGraph().use() as graph:
        ...     class Video(BaseFeature, spec=FeatureSpec("video", id_columns=["video_id"])):
        ...         video_id: str
        ...         height: int
        >>> Video.spec().id_columns, graph.feature_class("video") is Video
        (('video_id',), True)
        >>> Video.feature_version() == graph.feature_version(Video)
        True
    """

    __metaxy_spec__: ClassVar[FeatureSpec | None] = None
    __metaxy_graph__: ClassVar[FeatureGraph | None] = None

    def __init_subclass__(cls, *, spec: FeatureSpec | None = _NOT_GIVEN, **options: Any) -> None:
        """Refuse what pydantic would only warn of, before it looks at the class."""
        super().__init_subclass__(**options)
        if spec is _NOT_GIVEN or not isinstance(spec, FeatureSpec | None):
            raise FeatureError(
                f"class {cls.__qualname__} has no feature spec",
                found="no spec=" if spec is _NOT_GIVEN else f"spec={spec!r}",
                allowed="a FeatureSpec, or None for an abstract base",
                remedy=f"write class {cls.__name__}(BaseFeature, spec=FeatureSpec(...))",
            )
        annotations = inspect.get_annotations(cls)
        taken = [name for name in _RESERVED if name in annotations]
        if taken:
            raise FeatureError(
                f"class {cls.__qualname__} has columns with the names of methods",
                feature=None if spec is None else str(spec.key),
                found=", ".join(taken),
                remedy=f'name the column by an alias: {taken[0]}_: … = Field(alias="{taken[0]}")',
            )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Register the class, now that pydantic knows its columns."""
        spec: FeatureSpec | None = options.pop("spec")
        super().__pydantic_init_subclass__(**options)
        cls.__metaxy_spec__ = None
        cls.__metaxy_graph__ = None
        known = ClassColumns.of(cls)
        declared = list(known.kinds)
        if spec is None:
            columns(declared)
            return
        try:
            columns(declared)
        except FeatureError as error:
            raise error.located(feature=str(spec.key)) from None
        if known.is_closed:
            allowed = [*declared, *spec.id_columns]
            for field in spec.fields:
                cls._require(spec, field.columns or (), allowed, f"columns of field '{field.key}'")
        graph = FeatureGraph.current()
        cls.__metaxy_spec__ = spec
        cls.__metaxy_graph__ = graph
        graph.add(cls)

    @classmethod
    def _require(
        cls, spec: FeatureSpec, names: Iterable[str], declared: list[str], noun: str
    ) -> None:
        missing = [name for name in names if name not in declared]
        if missing:
            raise FeatureError(
                f"class {cls.__qualname__} does not declare all {noun}",
                feature=str(spec.key),
                found=f"without {', '.join(map(repr, missing))}",
                allowed=", ".join(declared),
                remedy=did_you_mean(
                    missing[0],
                    declared,
                    f"add {missing[0]}: … to the class, or let it have other columns: drop "
                    'extra="forbid"',
                ),
            )

    @classmethod
    def spec(cls) -> FeatureSpec:
        """The feature's spec.

        Raises:
            FeatureError: the class is an abstract base.
        """
        if cls.__metaxy_spec__ is None:
            raise FeatureError(
                f"class {cls.__qualname__} is an abstract base: it has no spec",
                remedy="use one of its subclasses",
            )
        return cls.__metaxy_spec__

    @classmethod
    def feature_version(cls) -> str:
        """The feature's version, see :meth:`FeatureGraph.feature_version`."""
        return cls._graph().feature_version(cls.spec())

    @classmethod
    def field_version(cls, field: CoercibleToFieldKey) -> str:
        """The version of one of its fields, see :meth:`FeatureGraph.field_version`."""
        return cls._graph().field_version(cls.spec(), field)

    @classmethod
    def code_version(cls) -> str:
        """The version of its own code, see :meth:`FeatureGraph.code_version`."""
        return cls._graph().code_version(cls.spec())

    @classmethod
    def _graph(cls) -> FeatureGraph:
        """The graph that the class registered on."""
        return cls.__metaxy_graph__ or FeatureGraph.current()
