"""The run that calls: known to floors above, which say here how it is found."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar

from metaxy_dagster.features import FeatureGraph, FeatureKey
from metaxy_dagster.features.run_inputs import with_inputs

__all__ = ["computing_with", "graph_of_run", "run_id", "tell_inputs_by", "tell_run_by"]

Inputs = Mapping[FeatureKey, str]

_TELL: list[Callable[[], str | None]] = []
_TELL_INPUTS: list[Callable[[], Inputs]] = []
_COMPUTING: ContextVar[Inputs | None] = ContextVar("metaxy_computing_with", default=None)


def tell_run_by(tell: Callable[[], str | None]) -> None:
    """Say how the id of the run is found that the calling code belongs to; once a process.

    Args:
        tell: gives the id; ``None`` where no run is going on.
    """
    _TELL[:] = [tell]


def tell_inputs_by(tell: Callable[[], Inputs]) -> None:
    """Say how it is found what the calling code computes features with; once a process.

    Args:
        tell: gives the hash of these inputs by feature.
    """
    _TELL_INPUTS[:] = [tell]


def run_id() -> str | None:
    """The run that the calling code belongs to; ``None`` where there is none, or nobody knows.

    Example:
        >>> run_id() is None
        True
    """
    return _TELL[0]() if _TELL else None


@contextlib.contextmanager
def computing_with(inputs: Inputs) -> Iterator[None]:
    """Let calls inside see features as a run with these inputs does."""
    token = _COMPUTING.set(inputs)
    try:
        yield
    finally:
        _COMPUTING.reset(token)


def graph_of_run(graph: FeatureGraph) -> FeatureGraph:
    """The features as the run computes them that the calling code belongs to.

    Args:
        graph: the features; returned where there is no run, or it computes nothing special.

    Example:
        >>> graph = FeatureGraph()
        >>> graph_of_run(graph) is graph
        True
    """
    inputs = _COMPUTING.get()
    if inputs is None:
        inputs = _TELL_INPUTS[0]() if _TELL_INPUTS else {}
    return with_inputs(graph, inputs) if inputs else graph
