"""``metaxy-dagster compact``: how much history a store holds, and less of it afterwards."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from metaxy_dagster.cli.console import say
from metaxy_dagster.cli.exits import FINE
from metaxy_dagster.errors import ConfigError
from metaxy_dagster.features import FeatureGraph
from metaxy_dagster.stores import DuckDBMetadataStore, load_config

if TYPE_CHECKING:
    import argparse

    from metaxy_dagster.stores.compaction_result import CompactionResult

__all__ = ["compact_store"]

_MIB: Final = 1 << 20


def compact_store(options: argparse.Namespace) -> int:
    """Compact a store and print what was removed.

    Args:
        options: ``store``, ``older_than_days``, ``before``, ``keep_versions``, ``no_rewrite``,
            ``dry_run`` and ``format``.

    Returns:
        An exit code.

    Raises:
        ConfigError: there is no such store, or it is not an embedded one.
        StoreError: it cannot be read or written.
    """
    store = _store(options.store)
    result = store.compact(
        older_than=_span(options.older_than_days),
        before=options.before,
        keep_versions=options.keep_versions,
        rewrite=not options.no_rewrite,
        dry_run=options.dry_run,
    )
    if options.format == "json":
        say(json.dumps(_as_json(store, result, dry_run=options.dry_run), indent=2))
    else:
        say("\n".join(_lines(store, result, dry_run=options.dry_run)))
    return FINE


def _span(days: float) -> dt.timedelta:
    try:
        return dt.timedelta(days=days)
    except (OverflowError, ValueError) as error:
        raise ConfigError(
            "--older-than-days is not a span of time",
            found=days,
            allowed="a number of days, 0 or more",
            remedy="give for instance 7",
        ) from error


def _store(named: str) -> DuckDBMetadataStore:
    graph = FeatureGraph()
    config = load_config()
    if config is not None and named in config.stores:
        store = config.get_store(named, graph=graph)
    else:
        store = DuckDBMetadataStore(named, graph=graph)
        if not store.path.is_file():
            raise ConfigError(
                "there is no store to compact",
                found=named,
                allowed="the name of a configured store, or the file of an embedded one",
                remedy="correct the name",
            )
    if not isinstance(store, DuckDBMetadataStore):
        raise ConfigError(
            "this kind of store has no history to compact",
            found=store.display(),
            allowed="an embedded store",
            remedy="name another store",
        )
    return store


def _as_json(
    store: DuckDBMetadataStore, result: CompactionResult, *, dry_run: bool
) -> dict[str, object]:
    features = {**dict.fromkeys(result.removed, 0), **result.kept}
    return {
        "store": store.display(),
        "dry_run": dry_run,
        "horizon": result.horizon,
        "features": [
            {"feature": str(key), "removed": result.removed.get(key, 0), "kept": kept}
            for key, kept in features.items()
        ],
        "commits_removed": result.commits_removed,
        "bytes_before": result.bytes_before,
        "bytes_after": result.bytes_after,
    }


def _lines(store: DuckDBMetadataStore, result: CompactionResult, *, dry_run: bool) -> Iterator[str]:
    yield f"store: {store.display()}"
    kept, what = sum(result.kept.values()), "would be removed" if dry_run else "removed"
    yield f"history: {result.rows_removed:,} rows {what}, {kept:,} kept"
    yield f"horizon: commit {result.horizon:,}; all states since can be read"
    for key in {**result.removed, **result.kept}:
        removed = result.removed.get(key, 0)
        yield f"    {key}: {removed:,} {what}, {result.kept.get(key, 0):,} kept"
    yield f"commits: {result.commits_removed:,} {what}"
    before, after = (size / _MIB for size in (result.bytes_before, result.bytes_after))
    yield f"file: {before:,.1f} MiB" + ("" if dry_run else f" before, {after:,.1f} MiB after")
