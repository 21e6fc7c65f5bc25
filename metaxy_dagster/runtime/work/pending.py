"""What a running step has to compute, for functions that load their inputs themselves."""

from __future__ import annotations

from typing import Any

from metaxy_dagster.errors import RunError
from metaxy_dagster.features import CoercibleToFeatureKey
from metaxy_dagster.runtime.work.current import current_work, increment_of
from metaxy_dagster.stores import Increment

__all__ = ["pending"]


def pending(context: Any, feature: CoercibleToFeatureKey | None = None) -> Increment:
    """The samples that a running step has to compute: of the run's partitions, if it has any.

    For functions of assets with ``"metaxy/input": "increment"`` that load what they need
    themselves. A parameter annotated ``mxd.Increment`` is the same. What the function reports as
    failed or empty of them is not recorded as done.

    Args:
        context: of the running asset or op.
        feature: which one is computed; needed where the step computes several.

    Raises:
        RunError: the step has no increment, or has several and ``feature`` does not say which.

    Example:
        >>> import dagster as dg, metaxy_dagster as mxd, pandas as pd, tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> @dg.asset(metadata={"metaxy/feature": "page", "metaxy/id_columns": ["id"]})
        ... def page() -> pd.DataFrame:
        ...     return pd.DataFrame({"id": [1, 2], "text": ["one", "two words"]})
        >>> @dg.asset(
        ...     deps=[page],
        ...     metadata={
        ...         "metaxy/feature": "summary",
        ...         "metaxy/id_columns": ["id"],
        ...         "metaxy/input": "increment",
        ...     },
        ... )
        ... def summary(context) -> None:
        ...     for row in mxd.pending(context).pending.collect().iter_rows(named=True):
        ...         (folder / f"{row['id']}.txt").write_text(row["text"].title())
        >>> defs = mxd.metaxify_definitions(
        ...     dg.Definitions(assets=[page, summary]), store=str(folder / "m.duckdb")
        ... )
        >>> job = defs.resolve_implicit_global_asset_job_def()
        >>> with dg.DagsterInstance.ephemeral() as instance:
        ...     done = job.execute_in_process(instance=instance)
        >>> sorted(path.read_text() for path in folder.glob("*.txt"))
        ['One', 'Two Words']
    """
    work = current_work()
    if work is None:
        raise RunError(
            "there are no pending samples where no step is running that computes them",
            found=type(context).__name__,
            allowed='a call in the function of an asset with "metaxy/input": "increment" that '
            "went through the pass, from the thread that runs it",
            remedy="elsewhere, call store.resolve_update(feature)",
        )
    return increment_of(work, feature, "are pending")
