"""Components for Dagster's YAML projects; ``dg`` finds them through an entry point."""

from __future__ import annotations

from metaxy_dagster.components.metaxy import MetaxyComponent

__all__ = ["MetaxyComponent"]
