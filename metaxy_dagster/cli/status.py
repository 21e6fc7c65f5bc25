"""``metaxy-dagster status``: what is stored of each feature and what waits to be computed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.cli.console import complain, say
from metaxy_dagster.cli.exits import FAULTS, FINE
from metaxy_dagster.cli.load import Loaded, Target, load
from metaxy_dagster.constants import RESOURCE_STORE
from metaxy_dagster.errors import ConfigError, MetaxyError
from metaxy_dagster.runtime.resource import MetaxyStoreFromConfigResource
from metaxy_dagster.stores import DuckDBMetadataStore, MetadataStore, load_config

if TYPE_CHECKING:
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = ["FeatureStatus", "show_status"]

_NUMBERS: Final = ("rows", "new", "stale", "orphaned")
_QUARANTINED: Final = "quarantined"
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
        quarantined: samples that failed too often to be tried again; None where there are none.
        problem: why it could not be counted.
    """

    feature: str
    assets: tuple[str, ...]
    rows: int | None = None
    new: int | None = None
    stale: int | None = None
    orphaned: int | None = None
    quarantined: int | None = None
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
    carriers = _carriers(loaded)
    with _store(loaded, store) as opened, opened:
        rows = [_status(opened, feature, assets) for feature, assets in carriers.items()]
        shown = opened.display()
    if form == "json":
        say(json.dumps({"store": shown, "features": [_data(row) for row in rows]}, indent=2))
    else:
        say("\n".join(_table(shown, rows)))
    problems = [row for row in rows if row.problem is not None]
    for row in problems:
        complain(f"error: {row.problem}")
    return FAULTS if problems else FINE


def _carriers(loaded: Loaded) -> dict[FeatureKey, tuple[str, ...]]:
    found: dict[FeatureKey, dict[str, None]] = {}
    for plan in loaded.plans:
        for asset in plan.assets:
            if asset.feature is not None:
                key = asset.spec.key.to_user_string()
                found.setdefault(asset.feature, {})[key] = None
    return {feature: tuple(assets) for feature, assets in found.items()}


def _graph(loaded: Loaded) -> FeatureGraph:
    """The features of all passes; those of a later pass include those of an earlier one or not."""
    graph = loaded.plans[0].graph.copy()
    for plan in loaded.plans[1:]:
        for key in plan.graph:
            if key not in graph:
                graph.add(plan.graph[key])
    return graph


@contextlib.contextmanager
def _store(loaded: Loaded, named: str | None) -> Iterator[MetadataStore]:
    graph = _graph(loaded)
    if named is not None:
        config = load_config()
        if config is not None and named in config.stores:
            yield config.get_store(named, graph=graph)
        else:
            yield DuckDBMetadataStore(named, graph=graph)
        return
    resource: Any = MetaxyStoreFromConfigResource()
    if loaded.defs is not None:
        resource = (loaded.defs.resources or {}).get(RESOURCE_STORE, resource)
    if isinstance(resource, MetadataStore):
        yield resource.with_graph(graph)
    elif isinstance(resource, MetaxyStoreFromConfigResource):
        yield _from_resource(resource).with_graph(graph)
    else:
        with _made(resource) as made:
            yield made.with_graph(graph)


def _from_resource(resource: MetaxyStoreFromConfigResource) -> MetadataStore:
    try:
        return resource.get_store()
    except dg.DagsterError as error:
        raise ConfigError(
            "the repository's store is in the Dagster instance's storage directory, and there "
            "is no instance",
            found=f"{type(error).__name__}: {error}",
            remedy="set DAGSTER_HOME to the directory of the instance, or name the file with "
            "--store",
        ) from None


@contextlib.contextmanager
def _made(resource: Any) -> Iterator[MetadataStore]:
    """A store from a resource of the user's own."""
    with dg.build_resources({RESOURCE_STORE: resource}) as resources:
        made = getattr(resources, RESOURCE_STORE)
        if not isinstance(made, MetadataStore):
            raise ConfigError(
                f"the repository's resource {RESOURCE_STORE!r} is no metadata store",
                found=type(made).__name__,
                allowed="a MetadataStore, or a resource that gives one",
                remedy="name the store of the features with --store",
            )
        yield made


def _status(store: MetadataStore, feature: FeatureKey, assets: tuple[str, ...]) -> FeatureStatus:
    name = str(feature)
    try:
        rows = store.count(feature)
        if store.graph.plan(feature).is_root:
            return FeatureStatus(name, assets, rows)
        counts = store.resolve_update(feature).counts
    except MetaxyError as error:
        return FeatureStatus(name, assets, problem=str(error.located(feature=name)))
    quarantined = counts.quarantined or None
    return FeatureStatus(name, assets, rows, counts.new, counts.stale, counts.orphaned, quarantined)


def _data(row: FeatureStatus) -> dict[str, Any]:
    """A row of the JSON form; quarantined samples only where there are any."""
    data = asdict(row)
    if row.quarantined is None:
        del data[_QUARANTINED]
    return data


def _table(store: str, rows: Sequence[FeatureStatus]) -> Iterator[str]:
    yield f"store: {store}"
    if not rows:
        yield "no asset carries a feature"
        return
    quarantined = any(row.quarantined for row in rows)
    names = (*_NUMBERS, _QUARANTINED) if quarantined else _NUMBERS
    cells: list[tuple[str, ...]] = [("feature", *names, "assets")]
    for row in rows:
        numbers = [getattr(row, name) for name in names]
        texts = [_NOT_KNOWN if number is None else f"{number:,}" for number in numbers]
        cells.append((row.feature, *texts, ", ".join(row.assets)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]) - 1)]
    for first, *numbers, last in cells:
        aligned = (text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *aligned, last))
