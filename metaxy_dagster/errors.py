"""One root for every error this library raises on purpose.

Each error says, in one line each: where (asset, feature), what is wrong, what was found,
what is allowed and what to do next. Callers catch :class:`MetaxyError`, or a subclass.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Self, TypeVar

__all__ = [
    "AssetError",
    "ConfigError",
    "DefinitionsError",
    "DeletionRefusedError",
    "FeatureError",
    "FrameError",
    "MetaxyError",
    "MetaxyErrorGroup",
    "RunError",
    "StoreBusyError",
    "StoreError",
    "UnwrittenError",
    "shown",
]

_Error = TypeVar("_Error", bound="MetaxyError")


class MetaxyError(Exception):
    """Root of the library's errors.

    Args:
        problem: what is wrong, as one sentence without a final full stop.
        asset: the Dagster asset key concerned, as ``"a/b"``.
        feature: the feature key concerned, as ``"a/b"``.
        found: what was found.
        allowed: what would have been accepted.
        remedy: what to do next.

    Example:
        >>> error = MetaxyError("no such feature", feature="audio/x", remedy="declare it")
        >>> print(error)
        feature 'audio/x': no such feature
          to fix: declare it
    """

    def __init__(
        self,
        problem: str,
        *,
        asset: str | None = None,
        feature: str | None = None,
        found: object | None = None,
        allowed: object | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.asset = asset
        self.feature = feature
        self.found = found
        self.allowed = allowed
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        """Where and what on the first line, then what was found, what is allowed, the remedy."""
        where = [
            f"{kind} {name!r}"
            for kind, name in (("asset", self.asset), ("feature", self.feature))
            if name is not None
        ]
        lines = [f"{', '.join(where)}: {self.problem}" if where else self.problem]
        for label, value in (
            ("found", self.found),
            ("allowed", self.allowed),
            ("to fix", self.remedy),
        ):
            if value is not None:
                lines.append(f"  {label}: {_text(value)}")
        # A log, a terminal and another process can write it down whatever was found.
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries (Dagster's executors pickle them) with all parts."""
        return (_rebuild, (type(self), self.__dict__.copy()))

    def located(self, *, asset: str | None = None, feature: str | None = None) -> MetaxyError:
        """The same error with the asset or feature filled in where they were unknown."""
        clone = _rebuild(type(self), self.__dict__.copy())
        clone.asset = self.asset if self.asset is not None else asset
        clone.feature = self.feature if self.feature is not None else feature
        return clone

    def with_remedy(self, remedy: str) -> Self:
        """The same error with another remedy, in the words of a caller who knows a better one."""
        clone = _rebuild(type(self), self.__dict__.copy())
        clone.remedy = remedy
        return clone


def shown(value: object) -> str:
    """What was found, for an error: short, and whatever it is.

    Example:
        >>> shown("x" * 1000)
        "'xxxxxxxxxxxx...xxxxxxxxxxxxx' of type str"
        >>> shown(None)
        'None'
    """
    if value is None:
        return "None"
    kind = type(value).__qualname__
    try:
        return f"{reprlib.repr(value)} of type {kind}"
    except Exception:  # noqa: BLE001 - whatever a type's own repr raises
        return f"something of type {kind}"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - as above
        return shown(value)


def _rebuild(cls: type[_Error], state: dict[str, object]) -> _Error:
    error = cls.__new__(cls)
    Exception.__init__(error, state.get("problem"))
    error.__dict__.update(state)
    return error


class FeatureError(MetaxyError, ValueError):
    """A key, a spec, a feature class or a feature graph is not valid."""


class ConfigError(MetaxyError, ValueError):
    """A configuration file, keyword or environment variable is missing or not valid."""


class DefinitionsError(MetaxyError, ValueError):
    """An asset cannot be tied to its feature."""


class StoreError(MetaxyError):
    """A metadata store cannot be opened, read or written."""


class StoreBusyError(StoreError):
    """Another process holds the store for longer than the configured wait."""


class FrameError(StoreError, ValueError):
    """A frame handed to a store is refused; nothing was written."""


class DeletionRefusedError(FrameError):
    """A frame that replaces a feature lacks more samples than may be deleted at once."""


class RunError(MetaxyError):
    """Something is wrong inside a Dagster run: an input, an output, a metadata key."""


class UnwrittenError(RunError):
    """Dagster knows materializations of an asset that a metadata store has never got."""


class AssetError(DefinitionsError, RunError):
    """What an asset says of its feature cannot be done; the pass tells it, and else the run."""


class MetaxyErrorGroup(  # noqa: N818 - named like ExceptionGroup
    MetaxyError, ExceptionGroup[MetaxyError]
):
    """All faults found in one pass, raised together.

    Example:
        >>> group = MetaxyErrorGroup("2 faults", [MetaxyError("a"), MetaxyError("b")])
        >>> [str(error) for error in group.exceptions]
        ['a', 'b']
    """

    def __new__(cls, problem: str, errors: Sequence[MetaxyError]) -> Self:
        """Needed because an exception group is built in ``__new__``."""
        return ExceptionGroup.__new__(cls, problem, errors)

    def __init__(self, problem: str, errors: Sequence[MetaxyError]) -> None:
        del errors
        MetaxyError.__init__(self, problem)

    def __str__(self) -> str:
        """The headline and every fault, so that a log line alone tells all."""
        faults = "\n".join(f"- {error}" for error in self.exceptions)
        return f"{self.problem}\n{faults}"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.problem, list(self.exceptions)))

    def derive(self, excs: Sequence[Exception]) -> MetaxyErrorGroup:  # type: ignore[override] # narrower than of the base, which takes any
        """``split`` and ``subgroup`` keep the type."""
        return MetaxyErrorGroup(self.problem, [e for e in excs if isinstance(e, MetaxyError)])
