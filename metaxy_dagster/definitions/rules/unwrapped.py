"""What the repository's own IO managers store, and no feature can be recorded of."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_origin

from metaxy_dagster.constants import KEY_INPUT, KEY_OUTPUT, OUTPUT_SELF
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.draft.storage import named_manager, output_of
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind
from metaxy_dagster.runtime.loading.conversion import is_no_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.handling import Handling
    from metaxy_dagster.errors import MetaxyError

__all__ = ["unwrapped"]


@partial(RepositoryRule, of_assets=True)
def unwrapped(bindings: Bindings, draft: Draft) -> Iterator[MetaxyError | Notice]:
    """Values that are no frames, and IO managers that nothing can stand around, with the reason."""
    if bindings.settings.io_routing != "keep":
        return
    for each in draft.handled:
        if each.kept is not None:
            yield from _no_frame(each)
            continue
        unit = each.plan.unit
        if each.ours or (each.handler is None and unit.materializable):
            continue
        manager = named_manager(each.planned.spec) if each.handler is None else each.handler
        own = bindings.own(manager, unit)
        if own is not None and bindings.kept(manager, unit) is None:
            key = bindings.settings.io_manager_key
            why = own.obstacle or f"the resource {key!r} is none of this library"
            message = (
                f"its IO manager {own.name} stays and knows of no features, so that none is "
                f"recorded: {why}"
            )
            yield Notice(NoticeKind.IO_MANAGER, message, each.called)


def _no_frame(each: Handling) -> Iterator[MetaxyError | Notice]:
    _, output = output_of(each.plan.unit, each.planned.key)
    made = None if output is None else output.dagster_type.typing_type
    if not is_no_frame(made) or each.writes_itself:
        return
    kind = get_origin(made) or made
    name = getattr(kind, "__name__", str(kind))
    if each.asset.keys.takes_increment and not each.settled:
        yield each.fault(
            f'metadata "{KEY_INPUT}" does nothing: what the asset returns has no samples that '
            "could be merged into what is stored",
            found=f"it is annotated to return {name}, and no frame",
            allowed="a frame: of narwhals, polars, pandas, pyarrow, PySpark, DuckDB, …",
            remedy="return a frame with the id columns; if its function makes its data itself, set "
            f'"{KEY_OUTPUT}": "{OUTPUT_SELF}"; or remove "{KEY_INPUT}"',
        )
        return
    message = (
        f"it is annotated to return {name}, and no frame: {each.handler!r} stores it as before, "
        "and no samples of its feature are recorded"
    )
    yield Notice(NoticeKind.IO_MANAGER, message, each.called)
