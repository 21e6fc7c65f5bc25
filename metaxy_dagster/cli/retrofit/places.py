"""Where in the user's code an asset is declared."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaxy_dagster.cli.outputs import functions_behind

if TYPE_CHECKING:
    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["Place", "place_of"]


@dataclass(frozen=True, order=True)
class Place:
    """A decorated function.

    Attributes:
        file: where it is.
        line: of its first decorator, from 1.
        name: of the function.
    """

    file: Path
    line: int
    name: str


def place_of(unit: Unit, directory: Path) -> Place | str:
    """Where the function of an object with one asset is.

    Args:
        unit: the object.
        directory: only code below it may be changed.

    Returns:
        The place, or as a text why there is none that could be changed.
    """
    functions = functions_behind(unit)
    if len(unit.specs) != 1:
        return f"it is one of {len(unit.specs)} assets of one object"
    if len(functions) != 1:
        return "it is not one decorated function"
    function = inspect.unwrap(functions[0])
    file = Path(function.__code__.co_filename).resolve()
    if not file.is_relative_to(directory.resolve()):
        return f"its code is outside of {directory.resolve().name}: {file}"
    return Place(file, function.__code__.co_firstlineno, function.__name__)
