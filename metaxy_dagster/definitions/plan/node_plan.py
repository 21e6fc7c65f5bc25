"""How an op or a graph is rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.definitions import _compat
    from metaxy_dagster.runtime.io.own_bodies import OwnBody
    from metaxy_dagster.runtime.work.isolating import OnError

__all__ = ["NodePlan"]


@dataclass(frozen=True, eq=False)
class NodePlan:
    """How an op or a graph is rewritten; assets that share the node share this object.

    Args:
        nothing_inputs: names of new inputs that only order execution.
        io_manager_keys: output name to IO manager resource.
        loads: by input, the resource that loads it, and metadata that says of which feature.
        ordered: inputs of the node that wait for the new ones already.
        clone_suffix: what distinguishes the names of cloned inner ops and graphs.
        skips: whether the body of its only op is left out while nothing is pending.
        batch_size: how many samples the function of an op gets at once; None for all of them.
        own_body: how the function of its only op is called that loads its inputs, or makes its
            data, itself; None if it does neither.
        on_error: what becomes of samples on which it fails; None if the step fails then.
    """

    nothing_inputs: tuple[str, ...] = ()
    io_manager_keys: Mapping[str, str] = field(default_factory=dict)
    loads: Mapping[str, _compat.Loaded] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    clone_suffix: str = ""
    skips: bool = False
    batch_size: int | None = None
    own_body: OwnBody | None = None
    on_error: OnError | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to rewrite."""
        routed = self.io_manager_keys or self.loads
        called = self.skips or self.batch_size or self.own_body or self.on_error
        return bool(self.nothing_inputs or routed or called)
