"""The base of all specs: frozen, compared and hashed by value, refusing with a FeatureError."""

from __future__ import annotations

import difflib
import inspect
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json

from metaxy_dagster.errors import FeatureError

__all__ = ["FrozenModel", "did_you_mean"]


def did_you_mean(name: object, known: Iterable[object], otherwise: str) -> str:
    """A remedy that names what is close to an unknown name, or else says something general.

    Example:
        >>> did_you_mean("vidoe", ["audio", "video"], "declare it")
        "did you mean 'video'? Otherwise declare it"
        >>> did_you_mean("x", [], "declare it")
        'declare it'
    """
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=3)
    if not close:
        return otherwise
    return f"did you mean {' or '.join(map(repr, close))}? Otherwise {otherwise}"


class FrozenModel(BaseModel):
    """A frozen pydantic model whose first field may be given by position.

    Bad input raises :class:`~metaxy_dagster.errors.FeatureError`, from the constructor as from
    ``model_validate`` and ``model_validate_json``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, *args: object, **data: object) -> None:
        if args:
            first = next(iter(type(self).model_fields))
            if len(args) > 1 or first in data:
                raise TypeError(
                    f"{type(self).__name__}() takes {first!r} by position, all else by keyword"
                )
            data = {first: args[0], **data}
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise self._refusal(error, data) from None

    # To pydantic it is the constructor that every model has: `model_validate` need not go through
    # it, which would lose `strict`, `context` and its other options on the way.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined] # pydantic's

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Show the first field as positional in ``help()`` and to who inspects the class."""
        super().__pydantic_init_subclass__(**options)
        shown = inspect.signature(cls).parameters.values()
        first, *others = (p for p in shown if p.kind is not p.VAR_POSITIONAL)
        first = first.replace(kind=first.POSITIONAL_OR_KEYWORD)
        cls.__signature__ = inspect.Signature([first, *others])

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Build from a mapping, as pydantic does; bad input raises a FeatureError.

        All of pydantic's options hold. With ``strict=True`` nothing is taken for a truth value or a
        number that is none; what stands for a key, a spec, a filter or a dependency still does, and
        the arguments of a nested one are read as its own constructor reads them.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise cls._refusal(error, obj) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Build from JSON text, as pydantic does; bad input raises a FeatureError."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise cls._refusal(error, _parsed(json_data)) from None

    @classmethod
    def _subject(cls, data: Mapping[str, object]) -> str:
        """Which object is refused, for the error: ``field 'audio'``."""
        del data
        return ""

    @classmethod
    def _feature(cls, data: Mapping[str, object]) -> str | None:
        """The feature that the object declares, for the error."""
        del data
        return None

    @classmethod
    def _refusal(cls, error: ValidationError, data: object) -> FeatureError:
        given = data if isinstance(data, Mapping) else {}
        faults = [cls._fault(detail, given) for detail in error.errors(include_url=False)]
        feature = cls._feature(given)
        if len(faults) == 1:
            fault = faults[0]
            fault.feature = fault.feature or feature
            return fault
        told = [f.problem + (f", found {f.found}" if f.found is not None else "") for f in faults]
        return FeatureError(
            f"{len(faults)} faults: {'; '.join(told)}",
            feature=feature,
            remedy="; ".join(dict.fromkeys(f.remedy for f in faults if f.remedy)) or None,
        )

    @classmethod
    def _owner(cls, path: Iterable[str]) -> type[FrozenModel]:
        """The model whose argument is at fault, where one model is an argument of another."""
        owner: type[FrozenModel] = cls
        for part in path:
            field = owner.model_fields.get(part)
            kind = field.annotation if field is not None else None
            if not (isinstance(kind, type) and issubclass(kind, FrozenModel)):
                return cls
            owner = kind
        return owner

    @classmethod
    def _fault(cls, detail: ErrorDetails, given: Mapping[str, object]) -> FeatureError:
        """One of pydantic's complaints in our terms; what we raised ourselves is only located."""
        where = ".".join(map(str, detail["loc"]))
        subject = cls._subject(given)
        raised = detail.get("ctx", {}).get("error")
        if isinstance(raised, FeatureError):
            if where:
                raised.problem = f"{_joined(subject, where)}: {raised.problem}"
            return raised
        if detail["type"] in ("missing", "extra_forbidden"):
            *path, name = map(str, detail["loc"])
            owner = cls._owner(path)
            lacks = detail["type"] == "missing"
            return FeatureError(
                f"{_joined(subject, '.'.join(path)) or owner.__name__} "
                + (f"lacks {name!r}" if lacks else f"has no argument {name!r}"),
                allowed=", ".join(owner.model_fields),
                remedy=f"add {name}=…"
                if lacks
                else did_you_mean(name, owner.model_fields, "drop it"),
            )
        _, _, allowed = detail["msg"].partition("Input should be ")
        return FeatureError(
            f"{_joined(subject, where) or cls.__name__}: "
            + ("not valid" if allowed else detail["msg"]),
            found=reprlib.repr(detail["input"]),
            allowed=allowed or None,
            remedy=f"correct {where or f'the arguments of {cls.__name__}'}",
        )


def _parsed(text: str | bytes | bytearray) -> object:
    """What JSON text says, for an error that names it; nothing where it is no JSON."""
    try:
        return from_json(text)
    except ValueError:
        return None


def _joined(*names: str) -> str:
    return ", ".join(name for name in names if name)
