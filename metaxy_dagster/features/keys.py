"""Keys: the slash-separated names of features and of their fields."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from functools import total_ordering
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, Self, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from metaxy_dagster.errors import FeatureError

__all__ = ["CoercibleToFeatureKey", "CoercibleToFieldKey", "FeatureKey", "FieldKey"]

MAX_PART = 100
MAX_PARTS = 20
MAX_LENGTH = 255
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ALLOWED = (
    "parts of letters, digits, '_', '.' and '-', separated by '/', none beginning with '.' or '-';"
    f" at most {MAX_PARTS} parts, {MAX_PART} characters each, {MAX_LENGTH} in all"
)


@total_ordering
class _Key:
    """What feature keys and field keys have in common: immutable, hashable, ordered by parts."""

    __slots__ = ("_hash", "_text", "parts")

    noun: ClassVar[str]
    parts: tuple[str, ...]
    _text: str
    _hash: int

    def __init__(self, value: object) -> None:
        parts = self._parts_of(value)
        text = "/".join(parts)
        self._check(parts, text)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "_hash", hash((self.noun, parts)))

    @classmethod
    def _parts_of(cls, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            return tuple(value.split("/"))
        if isinstance(value, cls):
            return value.parts
        if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            return tuple(value)
        owner = value.spec() if isinstance(value, type) and hasattr(value, "spec") else value
        key = getattr(owner, "key", None)
        if isinstance(key, cls):
            return key.parts
        raise FeatureError(
            f"not a {cls.noun} key",
            found=f"{reprlib.repr(value)} of type {type(value).__name__}",
            allowed=f'"a/b", ["a", "b"], a {cls.__name__} or what has one',
            remedy=f"write the {cls.noun}'s key as text",
        )

    @classmethod
    def _check(cls, parts: tuple[str, ...], text: str) -> None:
        if (
            0 < len(parts) <= MAX_PARTS
            and len(text) <= MAX_LENGTH
            and all(len(part) <= MAX_PART and _PART.fullmatch(part) for part in parts)
        ):
            return
        raise FeatureError(
            f"not a valid {cls.noun} key",
            found=reprlib.repr(text),
            allowed=_ALLOWED,
            remedy=_remedy(text),
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._text!r})"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.parts == other.parts

    def __lt__(self, other: Self) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.parts < other.parts

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return (type(self), (self._text,))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """As a pydantic field: validated from all that the constructor takes, dumped as text."""
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """In a JSON schema: a string."""
        return {"type": "string", "maxLength": MAX_LENGTH}


def _remedy(text: str) -> str:
    """A valid key that is close to the given one, if there is one."""
    parts = [re.sub(r"[^A-Za-z0-9_.-]+", "_", part).lstrip(".-") for part in text.split("/")]
    near = "/".join(part[:MAX_PART] for part in parts if part)
    if near and len(parts) <= MAX_PARTS and len(near) <= MAX_LENGTH:
        return f"write for instance {near!r}"
    return 'write for instance "video/frames"'


class FeatureKey(_Key):
    """The name of a feature.

    Attributes:
        parts: the slash-separated parts.

    Args:
        value: ``"a/b"``, ``["a", "b"]``, a key, a feature's spec or a feature class.

    Raises:
        FeatureError: it is none of these, or a part is empty, too long or has other characters
            than letters, digits, ``_``, ``.`` and ``-``.

    Example:
        >>> key = FeatureKey(["audio", "clusters"])
        >>> key
        FeatureKey('audio/clusters')
        >>> str(key), key.parts, key == FeatureKey("audio/clusters")
        ('audio/clusters', ('audio', 'clusters'), True)
    """

    __slots__ = ()
    noun: ClassVar[str] = "feature"

    if TYPE_CHECKING:

        def __init__(self, value: CoercibleToFeatureKey) -> None: ...


class FieldKey(_Key):
    """The name of a field of a feature.

    Args:
        value: ``"a/b"``, ``["a", "b"]``, a key or a field's spec.

    Raises:
        FeatureError: as for :class:`FeatureKey`.

    Example:
        >>> FieldKey("audio/left").parts
        ('audio', 'left')
        >>> sorted([FieldKey("b"), FieldKey("a")])
        [FieldKey('a'), FieldKey('b')]
    """

    __slots__ = ()
    noun: ClassVar[str] = "field"

    if TYPE_CHECKING:

        def __init__(self, value: CoercibleToFieldKey) -> None: ...


class _HasFeatureKey(Protocol):
    @property
    def key(self) -> FeatureKey: ...


class _HasFeatureSpec(Protocol):
    @classmethod
    def spec(cls) -> _HasFeatureKey: ...


class _HasFieldKey(Protocol):
    @property
    def key(self) -> FieldKey: ...


CoercibleToFeatureKey: TypeAlias = (
    FeatureKey | str | Sequence[str] | _HasFeatureKey | type[_HasFeatureSpec]
)
CoercibleToFieldKey: TypeAlias = FieldKey | str | Sequence[str] | _HasFieldKey
