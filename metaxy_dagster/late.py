"""Modules and names that are loaded when something first asks for them.

Every process of Dagster imports the definitions: the code server, and each step of each run. Few of
them touch a frame or a store, so DuckDB, narwhals and pyarrow, and the rooms that are built on
them, wait until one does.

A module that needs them for more than a function or two takes them from here, under their own
names::

    from metaxy_dagster.late import narwhals as nw

An annotation such as ``nw.LazyFrame`` still resolves; what a module computes while it is imported
may not use them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = [
    "duckdb",
    "late_modules",
    "late_names",
    "narwhals",
    "pandas",
    "polars",
    "pyarrow",
]


class _LateModule(ModuleType):
    """Stands for a module that is imported when a name in it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def late_modules(package: str, *names: str) -> list[ModuleType]:
    """Stand-ins for the modules of a package, none of which is imported yet.

    Args:
        package: the package; empty for modules that are in none.
        names: the modules.

    Example:
        >>> (json,) = late_modules("", "json")
        >>> json.dumps([1])
        '[1]'
    """
    return [_LateModule(f"{package}.{name}" if package else name) for name in names]


def late_names(
    package: str, homes: Mapping[str, Sequence[str]], public: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package whose names are imported when first used.

    Args:
        package: its name.
        homes: the modules that its names come from, each with those names.
        public: all names to list.

    Example:
        >>> get, listed = late_names("json", {"json.decoder": ["JSONDecodeError"]}, ["dumps"])
        >>> get("JSONDecodeError").__name__, listed()
        ('JSONDecodeError', ['dumps'])
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home_of:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        value = getattr(importlib.import_module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(public)


if TYPE_CHECKING:
    import duckdb
    import narwhals
    import pandas
    import polars
    import pyarrow
else:
    # Of these, polars and pandas are extras: asked for where a frame of theirs is there, or wanted.
    duckdb, narwhals, pandas, polars, pyarrow = late_modules(
        "", "duckdb", "narwhals", "pandas", "polars", "pyarrow"
    )
