"""The command line: what the pass does to a repository, and what its features wait for."""

from __future__ import annotations

from metaxy_dagster.cli.main import main

__all__ = ["main"]
