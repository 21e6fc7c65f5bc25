"""What a plan warns of, said where definitions are loaded."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import multiprocessing
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan

__all__ = ["announce"]

_LOGGER: Final = logging.getLogger("metaxy_dagster")
#: Between the call of the pass and the module that called it.
_BETWEEN: Final = frozenset({"metaxy_dagster", "dagster", "dagster_shared", "functools"})
_SAID: Final[set[str]] = set()


def announce(plan: MetaxifyPlan, module: str | None) -> None:
    """Log one line that says how much a plan warns of, and the command that shows it.

    It is said once a process, and not by the processes of single steps and runs, which load the
    definitions again.

    Args:
        plan: a plan that is about to be carried out.
        module: the module of the function that gave the definitions, if it is known.
    """
    if not plan.notices or multiprocessing.parent_process() is not None:
        return
    counts = Counter(str(notice.kind) for notice in plan.notices)
    kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(counts.items()))
    warnings = "1 warning" if len(plan.notices) == 1 else f"{len(plan.notices)} warnings"
    line = f"{warnings} ({kinds}), shown by: metaxy-dagster plan {_arguments(module)}"
    if line not in _SAID:
        _SAID.add(line)
        _LOGGER.warning("metaxify: %s", line)


def _arguments(module: str | None) -> str:
    """What names the definitions on the command line."""
    if module is not None and module != "__main__":
        return f"-m {module}"
    frame: Any = inspect.currentframe()
    while frame is not None and _root(frame) in _BETWEEN:
        frame = frame.f_back
    if frame is None:
        return "-m MODULE"
    name, file = frame.f_globals.get("__name__", ""), frame.f_globals.get("__file__")
    spec = importlib.util.find_spec(name) if name in sys.modules and name != "__main__" else None
    if file is not None and (spec is None or spec.origin != file):
        return f"-f {file}"
    return f"-m {name}"


def _root(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
