"""``metaxy-dagster migrate-ids``: a stored feature follows its newly declared id columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from metaxy_dagster.cli.console import say
from metaxy_dagster.cli.exits import FAULTS, FINE
from metaxy_dagster.cli.load import Target, load
from metaxy_dagster.cli.store import carriers, chosen_features, opened_store
from metaxy_dagster.errors import ConfigError
from metaxy_dagster.stores import DuckDBMetadataStore, IdMigration

__all__ = ["IdRequest", "migrate_feature"]

_COUNTS: Final = {
    "duplicates": "share their new ids with another one",
    "nulls": "have no value in one of the new ids",
    "lost": "have an id that the new type cannot hold",
}


@dataclass(frozen=True)
class IdRequest:
    """How the ids of a feature are to be migrated; as the arguments of ``store.migrate_ids``.

    Args:
        target: where the definitions are.
        feature: the feature's key.
        store: a configured store's name, or a file; by default the repository's own store.
        rename: ``stored=new``.
        fill: ``column=constant``.
        types: ``column=TYPE``.
        drop: columns.
        keep: which of several samples stays.
        dry_run: only tell what would be kept.
        form: ``"text"`` or ``"json"``.
    """

    target: Target
    feature: str
    store: str | None = None
    rename: Sequence[str] = ()
    fill: Sequence[str] = ()
    types: Sequence[str] = ()
    drop: Sequence[str] = ()
    keep: Literal["newest", "oldest", "none"] | None = None
    dry_run: bool = False
    form: str = "text"


def migrate_feature(request: IdRequest) -> int:
    """Migrate a feature's ids, or tell what that would keep.

    Args:
        request: what and how.

    Returns:
        An exit code; of faults if a dry run finds samples without new ids of their own.

    Raises:
        ConfigError: the code cannot be loaded, or there is no such store or feature.
        StoreError: the ids cannot be migrated in this way.
    """
    loaded = load(request.target)
    loaded.plan.raise_errors()
    with opened_store(loaded, request.store) as store:
        (key,) = chosen_features(store, [request.feature], carriers(loaded))
        if not isinstance(store, DuckDBMetadataStore):
            raise ConfigError(
                "the ids of features in this kind of store cannot be migrated",
                found=store.display(),
                allowed="an embedded store",
                remedy="name another store",
            )
        found = store.migrate_ids(
            key,
            rename=_pairs("--rename", request.rename),
            fill={name: _value(text) for name, text in _pairs("--fill", request.fill).items()},
            types=_pairs("--type", request.types),
            drop=tuple(request.drop),
            keep=request.keep,
            dry_run=request.dry_run,
        )
        shown = store.display()
    if request.form == "json":
        say(json.dumps({"store": shown, "dry_run": request.dry_run, **_data(found)}, indent=2))
    else:
        say("\n".join(_lines(shown, found, dry_run=request.dry_run)))
    decided = found.is_clean or (request.keep and not (found.nulls or found.lost or found.missing))
    return FAULTS if request.dry_run and not decided else FINE


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not (name and given):
            raise ConfigError(
                f"{option} does not name a column and what it gets",
                found=text,
                allowed="column=value",
                remedy="correct it, or leave it out",
            )
        found[name] = value
    return found


def _value(text: str) -> int | str:
    """A constant: a whole number, or a text."""
    try:
        return int(text)
    except ValueError:
        return text


def _data(found: IdMigration) -> dict[str, object]:
    return {
        "feature": str(found.feature),
        "before": list(found.before),
        "after": list(found.after),
        "rows": found.rows,
        "kept": found.kept,
        **{name: getattr(found, name) for name in _COUNTS},
        "missing": list(found.missing),
        "forgotten": found.forgotten,
        "downstream": list(map(str, found.downstream)),
        "commit": found.commit,
    }


def _lines(store: str, found: IdMigration, *, dry_run: bool) -> Iterator[str]:
    yield f"store: {store}"
    yield f"{found.feature}: stored by {list(found.before)}, declared with {list(found.after)}"
    if set(found.before) == set(found.after) and not found.rows:
        yield "nothing to do"
        return
    yield f"samples: {found.rows:,}, {'would be ' if dry_run else ''}kept {found.kept:,}"
    for name, says in _COUNTS.items():
        if number := getattr(found, name):
            yield f"    {number:,} {says}"
    if found.missing:
        yield f"    not stored: {', '.join(found.missing)}; give --fill or --rename"
    if found.forgotten:
        yield f"    {found.forgotten:,} marks of empty or failed samples forgotten"
    if found.downstream:
        names = ", ".join(map(str, found.downstream))
        yield f"downstream, to be looked at anew: {names}"
