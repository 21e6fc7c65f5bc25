"""The component that loads a repository and runs the pass over it."""

from __future__ import annotations

from metaxy_dagster.components.metaxy.component import MetaxyComponent
from metaxy_dagster.components.metaxy.scaffolder import MetaxyScaffolder, MetaxyScaffoldParams

__all__ = ["MetaxyComponent", "MetaxyScaffoldParams", "MetaxyScaffolder"]
