"""What people are told of a metadata key: in tables, and where its value is not allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Words"]


@dataclass(frozen=True)
class Words:
    """The words for the values of one key.

    Attributes:
        value: what may be written, as Markdown.
        allowed: the same for an error.
        remedy: what to do about a value that is not allowed.

    Example:
        >>> Words.choice("metaxy/input", ["all", "increment"]).value
        '`"all"` or `"increment"`'
    """

    value: str
    allowed: str
    remedy: str

    @classmethod
    def choice(cls, key: str, names: Sequence[str], default: str | None = None) -> Words:
        """One of some names, the value of a key."""
        shown = [f'`"{name}"`' + (" (default)" if name == default else "") for name in names]
        value = f"{', '.join(shown[:-1])} or {shown[-1]}"
        return cls(value, str(list(names)), f"set {key} to one of these")
