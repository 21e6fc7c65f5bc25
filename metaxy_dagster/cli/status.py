"""``metaxy-dagster status``: what is stored of each feature and what waits to be computed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from metaxy_dagster.cli.console import complain, say
from metaxy_dagster.cli.exits import FAULTS, FINE
from metaxy_dagster.cli.load import Target, load
from metaxy_dagster.cli.store import carriers, opened_store
from metaxy_dagster.cli.table import aligned
from metaxy_dagster.errors import MetaxyError
from metaxy_dagster.stores import MetadataStore

if TYPE_CHECKING:
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["FeatureStatus", "show_status"]

_NUMBERS: Final = ("rows", "new", "stale", "orphaned")
# Shown only where there are any.
_FAILURES: Final = ("failed", "quarantined", "outdated")
_NOT_KNOWN: Final = "-"


@dataclass(frozen=True)
class FeatureStatus:
    """What is known of one feature; no row is read for it, only counted.

    Args:
        feature: its key.
        assets: the assets that carry it.
        rows: stored samples.
        new: samples that upstream calls for and that are not stored; None for a root feature,
            whose samples only its own asset knows.
        stale: samples that were computed from something else than what is upstream now.
        orphaned: samples that nothing upstream calls for any more.
        failed: samples that failed and were not computed since; None where there are none.
        quarantined: samples that failed too often to be tried again; None where there are none.
        outdated: failed samples that still have a row of an earlier computation; None where
            there are none.
        problem: why it could not be counted.
    """

    feature: str
    assets: tuple[str, ...]
    rows: int | None = None
    new: int | None = None
    stale: int | None = None
    orphaned: int | None = None
    failed: int | None = None
    quarantined: int | None = None
    outdated: int | None = None
    problem: str | None = None


def show_status(target: Target, *, store: str | None = None, form: str = "text") -> int:
    """Print the status of every feature that an asset carries.

    Args:
        target: where the definitions are.
        store: a configured store's name, or a file; by default the repository's own store.
        form: ``"text"`` or ``"json"``.

    Returns:
        An exit code.

    Raises:
        ConfigError: the code cannot be loaded, or no store is found.
        MetaxyErrorGroup: the repository has faults.
        StoreError: the store cannot be read.
    """
    loaded = load(target)
    loaded.plan.raise_errors()
    carried = carriers(loaded)
    with opened_store(loaded, store) as opened, opened:
        rows = [_status(opened, feature, assets) for feature, assets in carried.items()]
        shown = opened.display()
    if form == "json":
        say(json.dumps({"store": shown, "features": [_data(row) for row in rows]}, indent=2))
    else:
        say("\n".join(_table(shown, rows)))
    problems = [row for row in rows if row.problem is not None]
    for row in problems:
        complain(f"error: {row.problem}")
    return FAULTS if problems else FINE


def _status(store: MetadataStore, feature: FeatureKey, assets: tuple[str, ...]) -> FeatureStatus:
    name = str(feature)
    try:
        rows, found = store.count(feature), store.failed(feature)
        failed = {each: getattr(found, each) or None for each in _FAILURES}
        if store.graph.plan(feature).is_root:
            store.failed(feature)  # says so if it cannot be read as it is declared
            return FeatureStatus(name, assets, rows, **failed)
        counts = store.resolve_update(feature).counts
    except MetaxyError as error:
        return FeatureStatus(name, assets, problem=str(error.located(feature=name)))
    return FeatureStatus(name, assets, rows, counts.new, counts.stale, counts.orphaned, **failed)


def _data(row: FeatureStatus) -> dict[str, Any]:
    """A row of the JSON form; failed samples only where there are any."""
    data = asdict(row)
    return {name: value for name, value in data.items() if name not in _FAILURES or value}


def _table(store: str, rows: Sequence[FeatureStatus]) -> Iterator[str]:
    yield f"store: {store}"
    if not rows:
        yield "no asset carries a feature"
        return
    names = (*_NUMBERS, *(name for name in _FAILURES if any(getattr(r, name) for r in rows)))
    cells: list[tuple[str, ...]] = [("feature", *names, "assets")]
    for row in rows:
        numbers = [getattr(row, name) for name in names]
        texts = [_NOT_KNOWN if number is None else f"{number:,}" for number in numbers]
        cells.append((row.feature, *texts, ", ".join(row.assets)))
    yield from aligned(cells, right=range(1, len(names) + 1))
    yield from filter(None, map(_failures, rows))


def _failures(row: FeatureStatus) -> str:
    """What is to be said of a feature's failed samples."""
    if not row.failed:
        return ""
    said = f"warning: {row.feature}: {row.failed:,} failed"
    if row.quarantined:
        said += f", {row.quarantined:,} of them no longer tried (quarantined)"
    if row.outdated:
        said += f", {row.outdated:,} still with the row of an earlier computation"
    return f"{said}; see metaxy-dagster failures, and retry"
