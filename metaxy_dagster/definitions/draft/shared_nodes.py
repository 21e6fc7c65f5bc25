"""Ops and graphs that other parts of a repository hold, too, so that they stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from metaxy_dagster.definitions import _compat

if TYPE_CHECKING:
    from metaxy_dagster.definitions.repository.collect import Scan

__all__ = ["nodes_used_elsewhere"]


def nodes_used_elsewhere(scan: Scan) -> frozenset[int]:
    """Ops and graphs that resolved jobs, or graphs behind assets, hold as inner nodes."""
    found: set[int] = set()
    jobs = list(scan.fields["jobs"] or ())
    for automation in (*(scan.fields["schedules"] or ()), *(scan.fields["sensors"] or ())):
        jobs += [t.job_def for t in _compat.targets_of(automation) if t.has_job_def]
    for job in jobs:
        if isinstance(job, dg.JobDefinition):
            found.update(id(node) for node in job.all_node_defs)
    for unit in scan.units:
        node = unit.definition.node_def if unit.definition is not None and unit.executable else None
        if isinstance(node, dg.GraphDefinition):
            found.update(id(each) for each in _compat.inner_nodes(node))
    return frozenset(found)
