"""What assets have materialized, loaded by the IO managers that the repository gave them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.errors import ConfigError

if TYPE_CHECKING:
    from types import FunctionType

    from metaxy_dagster.definitions.repository.collect import Unit

__all__ = ["Found", "functions_behind", "outputs_of", "writes_itself"]


@dataclass(frozen=True)
class Found:
    """Rows that exist: where they come from, and they; or why there are none.

    Attributes:
        source: in words.
        frame: what the IO manager gave.
        why_not: why there is nothing.
        partition: the partition that it is of.
        by_itself: whether the asset's function writes it somewhere, and returns nothing.
    """

    source: str
    frame: Any = None
    why_not: str | None = None
    partition: str | None = None
    by_itself: bool = False


def functions_behind(unit: Unit) -> Sequence[FunctionType]:
    """The functions that compute an object's assets."""
    if unit.definition is None or not unit.executable:
        return ()
    return list(_compat.functions_of(unit.definition.node_def))


def writes_itself(unit: Unit) -> bool:
    """Whether the functions of an object return nothing that an IO manager could hold."""
    functions = functions_behind(unit)
    return bool(functions) and all(map(_compat.gives_nothing, functions))


def outputs_of(
    defs: dg.Definitions, key: dg.AssetKey, *, newest: int | None = None
) -> Iterator[Found]:
    """What the IO manager that the repository gave an asset holds of it, partition by partition.

    Args:
        defs: the repository's definitions, before a pass.
        key: the asset.
        newest: only so many partitions, the last ones by their keys.

    Raises:
        ConfigError: there is no Dagster instance.
    """
    instance, name = _instance(), key.to_user_string()
    partitions: Sequence[str | None] = [None]
    if defs.get_assets_def(key).partitions_def is not None:
        partitions = sorted(instance.get_materialized_partitions(key))
        partitions = partitions if newest is None else partitions[-newest:]
    elif instance.get_latest_materialization_event(key) is None:
        partitions = ()
    if not partitions:
        yield Found(f"asset {name}", why_not="Dagster knows no materialization of it")
    for partition in partitions:
        source = f"asset {name}" if partition is None else f"asset {name}, partition {partition}"
        try:
            with _quiet():
                value = defs.load_asset_value(key, instance=instance, partition_key=partition)
        except Exception as error:  # noqa: BLE001 - whatever an IO manager of the user's own raises
            yield Found(source, why_not=f"its IO manager raised {type(error).__name__}: {error}")
        else:
            why_not = "its IO manager holds nothing of it" if value is None else None
            yield Found(source, value, why_not, partition)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines in which Dagster's IO managers tell what they load."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.DEBUG))
    try:
        yield
    finally:
        logging.disable(before)


def _instance() -> dg.DagsterInstance:
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise ConfigError(
            "which outputs exist is known to the Dagster instance, and there is none",
            found=f"{type(error).__name__}: {error}",
            remedy="set DAGSTER_HOME to the directory of the instance, or give the rows by --from",
        ) from None
