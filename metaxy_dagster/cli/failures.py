"""``metaxy-dagster failures`` and ``retry``: samples that failed, and their next attempts."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from metaxy_dagster import constants as c
from metaxy_dagster.cli.console import say
from metaxy_dagster.cli.exits import FINE
from metaxy_dagster.cli.load import Target, load
from metaxy_dagster.cli.store import carriers, chosen_features, opened_store
from metaxy_dagster.cli.table import aligned
from metaxy_dagster.stores import MetadataStore

__all__ = ["FailureRequest", "retry_samples", "show_failures"]

#: What is shown of a failure behind the columns that name the sample, and under which heading.
_HEADINGS: Final = {
    c.COL_ATTEMPTS: "attempts",
    c.COL_QUARANTINED: "quarantined",
    c.COL_FAILED_AT: "failed at",
    c.COL_ERROR_TYPE: "error",
    c.COL_ERROR: "",
}

# What else is known of a failure; all other columns name the sample.
_KNOWN: Final = {*_HEADINGS, c.COL_MATERIALIZATION_ID}


@dataclass(frozen=True)
class FailureRequest:
    """Which failures are meant.

    Args:
        target: where the definitions are.
        features: the features' keys; none for all that assets carry.
        store: a configured store's name, or a file; by default the repository's own store.
        filters: conditions that must all hold, by the columns of ``store.failures``.
        limit: how many samples of each feature are listed at most; 0 for all.
        form: ``"text"`` or ``"json"``.
    """

    target: Target
    features: tuple[str, ...] = ()
    store: str | None = None
    filters: tuple[str, ...] = ()
    limit: int = 20
    form: str = "text"


@dataclass(frozen=True)
class _Failed:
    """The failures of one feature."""

    feature: str
    names: Sequence[str]
    rows: Sequence[dict[str, Any]]

    @property
    def quarantined(self) -> int:
        return sum(bool(row[c.COL_QUARANTINED]) for row in self.rows)


def show_failures(request: FailureRequest) -> int:
    """Print the samples that failed and were not computed since, the most recent first.

    Args:
        request: which ones.

    Returns:
        An exit code.

    Raises:
        ConfigError: the code cannot be loaded, or there is no such store or feature.
        MetaxyErrorGroup: the repository has faults.
        FeatureError: a filter cannot be read.
        StoreError: the store cannot be read, or a filter names a column that is not there.
    """
    loaded = load(request.target)
    loaded.plan.raise_errors()
    with opened_store(loaded, request.store) as store, store:
        features = chosen_features(store, request.features, carriers(loaded))
        found = [_failed(store, key, request.filters) for key in features]
        shown = store.display()
    if request.form == "json":
        data = [_data(one, request.limit) for one in found]
        _say_json({"store": shown, "features": data})
        return FINE
    lines = [f"store: {shown}"]
    for one in found:
        if one.rows or request.features:
            lines.append(
                f"{one.feature}: {len(one.rows):,} failed, {one.quarantined:,} quarantined"
            )
            lines += _listed(one, request.limit)
    say("\n".join(lines if len(lines) > 1 else [*lines, "no sample failed"]))
    return FINE


def retry_samples(request: FailureRequest, *, dry_run: bool = False) -> int:
    """Forget failures, so that their samples are pending again, and print how many they were.

    Args:
        request: which ones.
        dry_run: forget none, and list them instead.

    Returns:
        An exit code.

    Raises:
        ConfigError: the code cannot be loaded, or there is no such store or feature.
        MetaxyErrorGroup: the repository has faults.
        FeatureError: a filter cannot be read.
        StoreError: the store cannot be written, or a filter names a column that is not there.
    """
    loaded = load(request.target)
    loaded.plan.raise_errors()
    with opened_store(loaded, request.store) as store:
        features = chosen_features(store, request.features, carriers(loaded))
        # Looked for first: a filter that cannot be used is refused before anything is forgotten.
        found = [_failed(store, key, request.filters) for key in features]
        numbers = [len(one.rows) for one in found]
        if not dry_run:
            chosen = list(request.filters) or None
            numbers = [store.retry(key, filters=chosen) for key in features]
        shown = store.display()
    if request.form == "json":
        data = [
            {"feature": one.feature, "retried": number}
            | ({"samples": _samples(one, request.limit)} if dry_run else {})
            for one, number in zip(found, numbers, strict=True)
        ]
        _say_json({"store": shown, "dry_run": dry_run, "features": data})
        return FINE
    lines = [f"store: {shown}"]
    for one, number in zip(found, numbers, strict=True):
        noun, verb = ("sample", "is") if number == 1 else ("samples", "are")
        lines.append(
            f"{one.feature}: {number:,} {noun} {'would be' if dry_run else verb} pending again"
        )
        if dry_run:
            lines += _listed(one, request.limit)
    say("\n".join(lines))
    return FINE


def _failed(store: MetadataStore, feature: Any, filters: Sequence[str]) -> _Failed:
    frame = store.failures(feature, filters=list(filters) or None)
    table = frame.collect(backend="pyarrow").to_native()
    names = [
        name for name in table.column_names if name not in (*_HEADINGS, c.COL_MATERIALIZATION_ID)
    ]
    return _Failed(str(feature), names, table.to_pylist())


def _say_json(data: dict[str, Any]) -> None:
    """As JSON; times, and ids of whatever type, as text."""
    say(json.dumps(data, indent=2, default=str))


def _samples(found: _Failed, limit: int) -> list[dict[str, Any]]:
    return list(found.rows[: limit or None])


def _data(found: _Failed, limit: int) -> dict[str, Any]:
    return {
        "feature": found.feature,
        "failed": len(found.rows),
        "quarantined": found.quarantined,
        "samples": _samples(found, limit),
    }


def _listed(found: _Failed, limit: int) -> Iterator[str]:
    if not found.rows:
        return
    rows = _samples(found, limit)
    columns = [*found.names, *_HEADINGS]
    cells = [[_HEADINGS.get(name, name) for name in columns]]
    cells += [[_text(row[name]) for name in columns] for row in rows]
    for line in aligned(cells):
        yield f"    {line}"
    if len(rows) < len(found.rows):
        yield f"    … and {len(found.rows) - len(rows):,} more; --limit 0 lists all"


def _text(value: object) -> str:
    """A value on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return " ".join(str(value).split())
