"""Where text goes: with colours on a terminal that has rich, else plain."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

from metaxy_dagster.late import late_modules

if TYPE_CHECKING:
    from rich import console as rich_console
    from rich import text as rich_text
else:
    rich_console, rich_text = late_modules("rich", "console", "text")

__all__ = ["complain", "say"]

#: What a line begins with, and how it is shown. Lines are the same with and without colours.
_STYLES: Final = (
    ("metaxify:", "bold"),
    ("+ ", "green"),
    ("- ", "red"),
    ("~ ", "yellow"),
    ("warnings", "bold yellow"),
    ("errors", "bold red"),
)


def say(text: str) -> None:
    """Print a result on the standard output.

    Args:
        text: one or more lines.
    """
    if not (sys.stdout.isatty() and importlib.util.find_spec("rich")):
        sys.stdout.write(text.rstrip("\n") + "\n")
        return
    console = rich_console.Console(soft_wrap=True)
    for line in text.rstrip("\n").split("\n"):
        console.print(rich_text.Text(line, style=_style(line)))


def complain(text: str) -> None:
    """Print what went wrong on the standard error output."""
    sys.stderr.write(text.rstrip("\n") + "\n")


def _style(line: str) -> str:
    for start, style in _STYLES:
        if line.startswith(start):
            return style
    # A heading stands at the margin, what belongs to it is indented.
    return "bold" if line and not line[0].isspace() else ""
