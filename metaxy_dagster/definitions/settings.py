"""What the pass may do, as one frozen object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args, get_type_hints

from dagster import DefaultSensorStatus

from metaxy_dagster.constants import CHECKS_NONE, MAX_FAILED_SAMPLES, RESOURCE_IO_MANAGER
from metaxy_dagster.errors import DefinitionsError
from metaxy_dagster.features.frozen import FrozenMapping
from metaxy_dagster.features.shares import SHARE_RULE, is_share
from metaxy_dagster.keys import check_names
from metaxy_dagster.runtime.loading.parameters import UNANNOTATED
from metaxy_dagster.stores.arguments import is_whole

__all__ = [
    "AssetKeys",
    "Checks",
    "Drift",
    "FailedRows",
    "IORouting",
    "MetaxifySettings",
    "PendingSensor",
    "checked_choice",
]

AssetKeys = Literal["keep", "feature"]
Drift = Literal["freeze", "report", "error"]
Checks = Literal["none", "all"] | Sequence[str]
PendingSensor = bool | Mapping[str, Any]
FailedRows = Literal["keep", "delete", "raise"]
IORouting = Literal["keep", "route", "respect_default", "off"]


@dataclass(frozen=True, kw_only=True)
class MetaxifySettings:
    """What the pass brings from features to assets, and what it leaves alone.

    Args:
        enable_asset_code_versions: an asset's own code version is that of the fields of its feature
            that have none, so that a new one recomputes its samples.
        enable_attributes: group, owners, tags and kinds of a feature's ``dagster/attributes``.
        enable_code_versions: the feature's code version, where the asset has none. Adding one
            marks existing materializations stale once.
        enable_column_lineage: ``dagster/column_lineage`` from the features' fields.
        enable_column_schema: ``dagster/column_schema`` from the feature class.
        enable_deps: deps on the assets that carry the upstream features.
        enable_descriptions: the feature's description, where the asset has none.
        enable_kinds: the kind ``metaxy``.
        enable_metadata: the feature's own metadata entries.
        enable_preview: show some rows, and the samples that failed, in events of assets without
            ``metaxy/preview``; of the IO manager that the pass adds.
        enable_skipping: leave the body of an asset with ``"metaxy/input": "increment"`` out of
            runs in which nothing is pending, where the pass can.
        enable_tags: the tags ``metaxy/feature`` and ``metaxy/project``.
        checks: asset checks of feature assets that have no ``metaxy/checks`` of their own:
            ``"none"``, ``"all"``, or some of ``"pending"``, ``"orphaned"``, ``"failed"``,
            ``"schema"`` and ``"unique_ids"``.
        failed_rows: what becomes of rows that an earlier run made of samples that fail, for assets
            without ``metaxy/failed_rows``: ``"keep"``, ``"delete"`` or ``"raise"``; of the IO
            manager that the pass adds.
        io_manager_key: the resource that outputs of feature assets are routed to.
        io_routing: ``"keep"`` leaves what is stored by an IO manager of the repository's own where
            it is, and wraps that, so that it takes increments; outputs that nothing of the
            repository's own stores are routed. ``"route"`` sends every output whose asset did not
            choose an IO manager there, also where the repository has its own ``io_manager``;
            ``"respect_default"`` takes such a resource for a choice as well, and wraps nothing;
            ``"off"`` routes and wraps nothing.
        max_deleted_share: the share of a feature's samples that a run may delete when it replaces
            them, for assets without ``metaxy/max_deleted_share``; of the IO manager that the
            pass adds, not of one that the repository has.
        max_failed_samples: how many samples of one run may be set aside as failed, for assets with
            ``"metaxy/on_error": "quarantine"`` and without ``metaxy/max_failed_samples``; if more
            fail, the step does.
        pending_condition: whether assets of derived features without an automation condition get
            one that requests them while samples are pending.
        pending_sensor: whether a sensor requests runs for features with pending samples; or its
            options, those of ``build_pending_sensor``.
        project: the value of the tag ``metaxy/project``; None leaves the tag out.
        selection_drift: what to do when a job's selection would come to mean other assets:
            ``"freeze"`` it to those it meant, ``"report"`` it, or make it an ``"error"``.
        unannotated: what arguments without an annotation get of a feature: ``"narwhals"`` (a lazy
            frame), ``"polars"``, ``"polars_lazy"``, ``"pandas"``, ``"pyarrow"`` or ``"duckdb"``.
            None is ``"narwhals"`` with a warning for each asset that has such arguments.

    Example:
        >>> MetaxifySettings(io_routing="off").io_routing
        'off'
    """

    enable_asset_code_versions: bool = True
    enable_attributes: bool = True
    enable_code_versions: bool = True
    enable_column_lineage: bool = True
    enable_column_schema: bool = True
    enable_deps: bool = True
    enable_descriptions: bool = True
    enable_kinds: bool = True
    enable_metadata: bool = True
    enable_preview: bool = True
    enable_skipping: bool = True
    enable_tags: bool = True
    checks: Checks = CHECKS_NONE
    failed_rows: FailedRows = "keep"
    io_manager_key: str = RESOURCE_IO_MANAGER
    io_routing: IORouting = "keep"
    max_deleted_share: float = 0.5
    max_failed_samples: int = MAX_FAILED_SAMPLES
    pending_condition: bool = False
    pending_sensor: PendingSensor = False
    project: str | None = None
    selection_drift: Drift = "freeze"
    unannotated: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that are not in the table above.

        Raises:
            DefinitionsError: names the setting, the value and what is allowed.
        """
        hints = get_type_hints(type(self))
        for each in fields(self):
            checked_choice(each.name, getattr(self, each.name), _allowed(hints[each.name]))
        if not is_share(self.max_deleted_share):
            raise DefinitionsError(
                "max_deleted_share has a value it cannot have",
                found=repr(self.max_deleted_share),
                allowed=SHARE_RULE,
                remedy="leave it out for one half, or correct it",
            )
        if not is_whole(self.max_failed_samples) or self.max_failed_samples < 1:
            raise DefinitionsError(
                "max_failed_samples has a value it cannot have",
                found=repr(self.max_failed_samples),
                allowed="a whole number, at least 1",
                remedy=f"leave it out for {MAX_FAILED_SAMPLES}, or correct it",
            )
        if self.unannotated is not None:
            checked_choice("unannotated", self.unannotated, tuple(UNANNOTATED))
        if self.checks != CHECKS_NONE:
            names = check_names(self.checks)
            if not isinstance(self.checks, str):
                object.__setattr__(self, "checks", names)
        object.__setattr__(self, "pending_sensor", _sensor_options(self.pending_sensor))


def _sensor_options(given: object) -> bool | Mapping[str, Any]:
    if isinstance(given, bool):
        return given
    options = (
        "name",
        "store_resource_key",
        "max_assets",
        "max_features",
        "max_attempts",
        "backoff_seconds",
        "minimum_interval_seconds",
        "default_status",
        "tags",
    )
    unknown = [name for name in given if name not in options] if isinstance(given, Mapping) else []
    if unknown or not isinstance(given, Mapping):
        raise DefinitionsError(
            "pending_sensor has a value it cannot have",
            found=", ".join(map(repr, unknown)) or repr(given),
            allowed=f"True, False, or a mapping with any of {', '.join(options)}",
            remedy='write for instance pending_sensor={"minimum_interval_seconds": 300}',
        )
    status = given.get("default_status")
    if isinstance(status, str):
        names = tuple(DefaultSensorStatus.__members__)
        checked_choice("pending_sensor.default_status", status, names)
    return FrozenMapping(given)


_BOOLEANS: Final = (True, False)


def _allowed(hint: Any) -> tuple[object, ...]:
    if hint is bool:
        return _BOOLEANS
    choices = get_args(hint)
    return choices if choices and all(isinstance(each, str) for each in choices) else ()


def checked_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse a value that is none of the allowed ones; an empty tuple allows anything.

    Raises:
        DefinitionsError: names the argument, the value and what is allowed.
    """
    if allowed and not any(value is each or value == each for each in allowed):
        raise DefinitionsError(
            f"{name} has a value it cannot have",
            found=repr(value),
            allowed=", ".join(repr(each) for each in allowed),
            remedy=f"pass one of these as {name}",
        )
