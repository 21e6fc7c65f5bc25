"""``python -m metaxy_dagster``: the same as the ``metaxy-dagster`` command."""

from __future__ import annotations

from metaxy_dagster.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
