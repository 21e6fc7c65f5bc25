"""``metaxy-dagster adopt``: what exists already is taken as computed, so that nothing is twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaxy_dagster.cli.console import complain, say
from metaxy_dagster.cli.exits import FAULTS, FINE
from metaxy_dagster.cli.load import Loaded, Target, load
from metaxy_dagster.cli.outputs import Found, outputs_of, writes_itself
from metaxy_dagster.cli.store import carriers, chosen_features, opened_store
from metaxy_dagster.errors import ConfigError, MetaxyError

if TYPE_CHECKING:
    from metaxy_dagster.features.keys import FeatureKey
    from metaxy_dagster.stores import Adoption, MetadataStore

__all__ = ["AdoptRequest", "adopt_features"]

_BY_ITSELF: Final = (
    "it writes its data itself and returns nothing: give the ids by --from, or say with --written "
    "that it has done so for all samples that are upstream now"
)
_COUNTS: Final = {
    "known": "up to date already",
    "unexpected": "left out: nothing upstream calls for them",
    "ambiguous": "left out: they share their ids, or have none",
}


@dataclass(frozen=True)
class AdoptRequest:
    """What is to be adopted.

    Args:
        target: where the definitions are.
        features: keys of features; none for all that assets carry.
        store: a configured store's name, or a file; by default the repository's own store.
        file: a Parquet or CSV file with the rows, of one feature; by default what the assets'
            own IO managers hold.
        dry_run: only tell what would be adopted.
        written: whether assets that write their data themselves have done so for all samples.
        form: ``"text"`` or ``"json"``.
    """

    target: Target
    features: tuple[str, ...] = ()
    store: str | None = None
    file: Path | None = None
    dry_run: bool = False
    written: bool = False
    form: str = "text"


def adopt_features(request: AdoptRequest) -> int:
    """Adopt what exists of features, upstreams first.

    Args:
        request: what and how.

    Returns:
        An exit code; of faults if some output cannot be adopted.

    Raises:
        ConfigError: the code or the instance cannot be loaded, or there is no such store, feature
            or file.
        StoreError: the store cannot be read or written.
    """
    loaded = load(request.target)
    loaded.plan.raise_errors()
    told: list[dict[str, object]] = []
    waiting: set[FeatureKey] = set()
    with opened_store(loaded, request.store) as store:
        chosen = set(chosen_features(store, request.features, carriers(loaded)))
        if request.form == "text":
            say(f"store: {store.display()}")
        for key in store.graph.topological_order():
            if key not in chosen:
                continue
            upstreams = sorted(waiting.intersection(store.graph.upstream(key)))
            for found in _existing(loaded, key, request):
                entry = _adopted(store, key, found, upstreams, request)
                told.append(entry)
                if request.form == "text":
                    say("\n".join(_lines(entry)))
            mine = [entry for entry in told if entry["feature"] == str(key)]
            if request.dry_run and any(e["rows"] or e["waits_for"] for e in mine):
                waiting.add(key)
    if request.form == "json":
        say(json.dumps({"dry_run": request.dry_run, "adopted": told}, indent=2))
    return FAULTS if any(entry["why_not"] for entry in told) else FINE


def _existing(loaded: Loaded, key: FeatureKey, request: AdoptRequest) -> Iterator[Found]:
    if request.file is not None:
        if len(request.features) != 1:
            raise ConfigError(
                "a file holds the rows of one feature",
                found=f"{len(request.features)} features",
                remedy="name one feature beside --from",
            )
        yield Found(str(request.file), _read(request.file))
        return
    for plan in loaded.plans:
        for each in plan.definitions:
            for asset in each.assets:
                if asset.feature != key:
                    continue
                if writes_itself(each.unit):
                    yield Found(f"asset {asset.key.to_user_string()}", by_itself=True)
                else:
                    yield from outputs_of(plan.defs, asset.key)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(
            "the file of rows does not exist", found=str(path), remedy="correct the path"
        )
    if path.suffix == ".csv":
        import pyarrow.csv  # noqa: PLC0415 - slow to import, only needed here

        return pyarrow.csv.read_csv(path)
    import pyarrow.parquet  # noqa: PLC0415 - as above

    return pyarrow.parquet.read_table(path)


def _adopted(
    store: MetadataStore,
    key: FeatureKey,
    found: Found,
    upstreams: Sequence[FeatureKey],
    request: AdoptRequest,
) -> dict[str, object]:
    """One output, as it is told."""
    entry: dict[str, object] = {"feature": str(key), "source": found.source, "rows": 0}
    entry |= {"waits_for": list(map(str, upstreams)), "why_not": found.why_not}
    if found.why_not is not None or upstreams:
        return {**entry, "rows": 0 if found.why_not else None}
    if found.by_itself and not request.written:
        return {**entry, "why_not": _BY_ITSELF}
    try:
        frame = found.frame if not found.by_itself else store.resolve_update(key).pending
        adoption: Adoption = store.adopt(key, frame, dry_run=request.dry_run)
    except MetaxyError as error:
        if request.form == "text":
            complain(f"error: {error}")
        return {**entry, "why_not": error.problem}
    told = {name: value for name, value in asdict(adoption).items() if name != "feature"}
    return {**entry, **told}


def _lines(entry: dict[str, Any]) -> Iterator[str]:
    yield f"{entry['feature']}: {entry['source']}"
    if entry["why_not"]:
        yield f"    not adopted: {entry['why_not']}"
    elif entry["waits_for"]:
        yield f"    known once {', '.join(entry['waits_for'])} is adopted"
    else:
        would = "would be " if entry["dry_run"] else ""
        yield f"    {entry['adopted']:,} of {entry['rows']:,} rows {would}adopted"
        for name, says in _COUNTS.items():
            if entry[name]:
                yield f"    {entry[name]:,} {says}"
        if entry["pending"]:
            yield f"    {entry['pending']:,} samples {'would be ' if would else ''}left pending"
