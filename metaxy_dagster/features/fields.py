"""Fields: the parts of a feature that are versioned separately."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field

from metaxy_dagster.features.columns import Columns, in_order
from metaxy_dagster.features.keys import (
    CoercibleToFeatureKey,
    CoercibleToFieldKey,
    FeatureKey,
    FieldKey,
)
from metaxy_dagster.features.model import FrozenModel
from metaxy_dagster.features.text import check_name

__all__ = ["DEFAULT_FIELD", "INITIAL_CODE_VERSION", "FieldDep", "FieldSpec", "SpecialFieldDep"]

DEFAULT_FIELD: Final = "default"
# Not "1", which is what people write first: setting it must count as a change.
INITIAL_CODE_VERSION: Final = "0"


class SpecialFieldDep(enum.Enum):
    """Dependencies that are not a list of fields.

    Example:
        >>> FieldDep("video", fields=SpecialFieldDep.ALL) == FieldDep("video")
        True
    """

    ALL = "*"


def _fields(value: object) -> object:
    if value is SpecialFieldDep.ALL or value == SpecialFieldDep.ALL.value:
        return SpecialFieldDep.ALL
    listed = (value,) if isinstance(value, str | FieldKey) else in_order(value, "fields")
    return tuple(sorted({FieldKey(one) for one in listed}))  # type: ignore[arg-type] # refused by it


class FieldDep(FrozenModel):
    """Fields of one upstream that a field is computed from.

    Attributes:
        feature: the upstream; it must be among the feature's ``deps``.
        fields: its fields, or ``SpecialFieldDep.ALL``.

    Example:
        >>> FieldDep("video", fields=["audio"])
        FieldDep(feature=FeatureKey('video'), fields=(FieldKey('audio'),))
    """

    feature: FeatureKey
    fields: Annotated[tuple[FieldKey, ...] | SpecialFieldDep, BeforeValidator(_fields)] = (
        SpecialFieldDep.ALL
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            feature: CoercibleToFeatureKey,
            *,
            fields: Iterable[CoercibleToFieldKey] | SpecialFieldDep = ...,
        ) -> None: ...

    @classmethod
    def _subject(cls, data: Mapping[str, object]) -> str:
        feature = data.get("feature")
        return "field dependency" + (f" on {str(feature)!r}" if feature else "")


def _code_version(value: object) -> str:
    """Whole numbers are plain enough; 1.10 as a number would silently become 1.1."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return check_name(value, "a code version", "1.10")


def _field_deps(value: object) -> object:
    if value is SpecialFieldDep.ALL or value == SpecialFieldDep.ALL.value:
        return SpecialFieldDep.ALL
    if value is None:
        return None
    return tuple(_field_dep(one) for one in in_order(value, "field dependencies"))


def _field_dep(value: Any) -> FieldDep:
    if isinstance(value, FieldDep):
        return value
    return FieldDep.model_validate(value) if isinstance(value, Mapping) else FieldDep(value)


class FieldSpec(FrozenModel):
    """A field of a feature.

    Attributes:
        key: its name.
        code_version: changes when the code that computes the field does.
        deps: the upstream fields it is computed from; ``None`` leaves that to the
            ``fields_mapping`` of each of the feature's dependencies, ``()`` says none.
        columns: the columns that hold the field's content, for features whose versions are
            derived from it; ``None`` stands for all columns that are not ids.

    Raises:
        FeatureError: an argument is not valid.

    Example:
        >>> FieldSpec("audio", code_version="1").key
        FieldKey('audio')
        >>> FieldSpec(key="faces", deps=[FieldDep("video", fields=["frames"])]).deps
        (FieldDep(feature=FeatureKey('video'), fields=(FieldKey('frames'),)),)
    """

    key: FieldKey = FieldKey(DEFAULT_FIELD)
    code_version: Annotated[str, BeforeValidator(_code_version)] = INITIAL_CODE_VERSION
    deps: Annotated[tuple[FieldDep, ...] | SpecialFieldDep | None, BeforeValidator(_field_deps)] = (
        None
    )
    columns: Annotated[Columns | None, Field(min_length=1)] = None

    if TYPE_CHECKING:

        def __init__(
            self,
            key: CoercibleToFieldKey = ...,
            *,
            code_version: str | int = ...,
            deps: Iterable[FieldDep | CoercibleToFeatureKey] | SpecialFieldDep | None = ...,
            columns: Iterable[str] | None = ...,
        ) -> None: ...

    @classmethod
    def _subject(cls, data: Mapping[str, object]) -> str:
        return f"field {str(data.get('key', DEFAULT_FIELD))!r}"

    @property
    def has_code_version(self) -> bool:
        """Whether it was declared with a code version, be it the initial one."""
        return "code_version" in self.model_fields_set

    def with_code_version(self, version: str) -> FieldSpec:
        """The same field with another code version."""
        return FieldSpec(self.key, code_version=version, deps=self.deps, columns=self.columns)
