"""Python's garbage collector, held while the pass builds its objects."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collector_held"]


@contextlib.contextmanager
def collector_held() -> Iterator[None]:
    """Put off garbage collection for the duration of the block.

    The pass makes many small objects that all live on, and each full sweep visits every one made
    before: a third of its time in large repositories. What was set before is set again after.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
