"""The pass: one call that ties a whole repository to its features."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

import dagster as dg

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.bindings.request import Request
from metaxy_dagster.definitions.bindings.translator import MetaxyTranslator
from metaxy_dagster.definitions.planner import make_plan
from metaxy_dagster.definitions.record import note_plan, preview
from metaxy_dagster.definitions.settings import (
    AssetKeys,
    Checks,
    MetaxifySettings,
    PendingSensor,
    checked_choice,
)
from metaxy_dagster.errors import DefinitionsError

if TYPE_CHECKING:
    from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan

__all__ = ["metaxify_definitions", "plan_definitions"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def metaxify_definitions(
    defs: dg.Definitions,
    *,
    features: object = ...,
    store: object = ...,
    translator: MetaxyTranslator | None = ...,
    asset_keys: AssetKeys = ...,
    inject_code_version: bool = ...,
    checks: Checks | None = ...,
    pending_sensor: PendingSensor | None = ...,
    pending_condition: bool | None = ...,
    settings: MetaxifySettings | None = ...,
) -> dg.Definitions: ...


@overload
def metaxify_definitions(
    defs: F,
    *,
    features: object = ...,
    store: object = ...,
    translator: MetaxyTranslator | None = ...,
    asset_keys: AssetKeys = ...,
    inject_code_version: bool = ...,
    checks: Checks | None = ...,
    pending_sensor: PendingSensor | None = ...,
    pending_condition: bool | None = ...,
    settings: MetaxifySettings | None = ...,
) -> F: ...


@overload
def metaxify_definitions(
    defs: None = ...,
    *,
    features: object = ...,
    store: object = ...,
    translator: MetaxyTranslator | None = ...,
    asset_keys: AssetKeys = ...,
    inject_code_version: bool = ...,
    checks: Checks | None = ...,
    pending_sensor: PendingSensor | None = ...,
    pending_condition: bool | None = ...,
    settings: MetaxifySettings | None = ...,
) -> Callable[[F], F]: ...


def metaxify_definitions(
    defs: Any = None,
    *,
    features: object = None,
    store: object = None,
    translator: MetaxyTranslator | None = None,
    asset_keys: AssetKeys = "keep",
    inject_code_version: bool = True,
    checks: Checks | None = None,
    pending_sensor: PendingSensor | None = None,
    pending_condition: bool | None = None,
    settings: MetaxifySettings | None = None,
) -> Any:
    """Tie every asset that carries ``"metaxy/feature"`` to its feature.

    It brings lineage, descriptions, schemas and versions from the features to the assets, makes
    the features' deps order execution, adds the resources ``store`` and ``metaxy_io_manager``
    and routes the outputs of feature assets through the latter. Assets without the key stay the
    same objects; what the user set on an asset always wins; applying it twice changes nothing.

    Args:
        defs: the Definitions; or a function that returns them, when used as a decorator above or
            below ``@dagster.definitions``.
        features: a FeatureGraph, or an iterable of FeatureSpecs and feature classes; by default
            the current graph. It is not changed.
        store: a MetadataStore, a resource, or the path of an embedded file; by default the
            configured store, or an embedded file in the Dagster instance's storage directory.
        translator: says what a feature brings to its asset.
        asset_keys: ``"keep"`` leaves the assets' keys; ``"feature"`` gives them their features'
            keys and rewrites every reference (their history stays under the old keys).
        inject_code_version: whether assets without a code version get their feature's. Adding
            one marks what was materialized before as stale, once.
        checks: asset checks of feature assets: ``"all"``, ``"none"`` or a list of names; an asset's
            own ``metaxy/checks`` wins. As the two that follow, a setting; None leaves it at that.
        pending_sensor: True, or the options of a sensor that requests runs for features with
            pending samples.
        pending_condition: whether assets without an automation condition get one that requests
            them while samples are pending, and the sensor that evaluates it.
        settings: what is brought at all; overrides the translator's settings.

    Returns:
        New Definitions, or the same object when there is nothing to do; for a function, a
        function that returns them.

    Raises:
        DefinitionsError: ``defs`` is none of these, or an argument has a wrong value.
        MetaxyErrorGroup: every fault of the repository at once; nothing was changed.

    Example:
        >>> import dagster as dg
        >>> video = dg.AssetSpec(
        ...     "raw_video",
        ...     metadata={"metaxy/feature": "video/raw", "metaxy/id_columns": ["video_id"]},
        ... )
        >>> @dg.asset(metadata={"metaxy/feature": "video/faces", "metaxy/id_columns": ["video_id"],
        ...                     "metaxy/deps": ["video/raw"]})
        ... def faces(): ...
        >>> defs = metaxify_definitions(dg.Definitions(assets=[video, faces]), features=[])
        >>> [dep.asset_key for dep in defs.get_assets_def("faces").get_asset_spec().deps]
        [AssetKey(['raw_video'])]
    """
    options: dict[str, Any] = {
        "features": features,
        "store": store,
        "translator": translator,
        "asset_keys": asset_keys,
        "inject_code_version": inject_code_version,
        "checks": checks,
        "pending_sensor": pending_sensor,
        "pending_condition": pending_condition,
        "settings": settings,
    }
    if defs is None:
        return functools.partial(metaxify_definitions, **options)
    if isinstance(defs, dg.Definitions):
        return _passed(defs, options)
    if isinstance(defs, _compat.LazyDefinitions):
        return _compat.lazy_with(defs, _wrapped(defs.load_fn, options))
    if inspect.isfunction(defs):
        return _wrapped(defs, options)
    raise _refused(defs)


def plan_definitions(
    defs: dg.Definitions,
    *,
    features: object = None,
    store: object = None,
    translator: MetaxyTranslator | None = None,
    asset_keys: AssetKeys = "keep",
    inject_code_version: bool = True,
    checks: Checks | None = None,
    pending_sensor: PendingSensor | None = None,
    pending_condition: bool | None = None,
    settings: MetaxifySettings | None = None,
) -> MetaxifyPlan:
    """What :func:`metaxify_definitions` would do, without doing it.

    The arguments are the same. The plan that is returned is the object that executes
    (``plan.apply()``); its faults are in ``plan.errors`` and are not raised here.

    Raises:
        DefinitionsError: ``defs`` is no Definitions, or an argument has a wrong value.

    Example:
        >>> import dagster as dg
        >>> spec = dg.AssetSpec("x", metadata={"metaxy/feature": "x", "metaxy/id_columns": ["id"]})
        >>> plan = plan_definitions(dg.Definitions(assets=[spec]), features=[])
        >>> [change.what for change in plan.assets[0].changes]
        ['code_version', 'tags', 'kinds', 'metadata', 'io_manager_key']
    """
    if not isinstance(defs, dg.Definitions):
        raise _refused(defs)
    checked_choice("asset_keys", asset_keys, get_args(AssetKeys))
    checked_choice("inject_code_version", inject_code_version, (True, False))
    wanted = preview()
    chosen = chosen_translator(
        translator,
        settings,
        inject_code_version=inject_code_version,
        checks=checks,
        pending_sensor=pending_sensor,
        pending_condition=pending_condition,
    )
    if wanted.settings:
        chosen = replace(chosen, settings=replace(chosen.settings, **wanted.settings))
    request = Request(
        features=features,
        store=store,
        translator=chosen,
        rename=(wanted.asset_keys or asset_keys) == "feature",
    )
    return make_plan(defs, request)


def chosen_translator(
    translator: MetaxyTranslator | None,
    settings: MetaxifySettings | None,
    *,
    inject_code_version: bool,
    **overrides: Any,
) -> MetaxyTranslator:
    """The translator with the settings that apply.

    Args:
        translator: what the user passed.
        settings: likewise; they win over the translator's own.
        inject_code_version: likewise; False wins over the settings.
        overrides: settings passed as arguments; those that are None were not.

    Raises:
        DefinitionsError: the translator or the settings are of another type.
    """
    for name, value, wanted in (
        ("translator", translator, MetaxyTranslator),
        ("settings", settings, MetaxifySettings),
    ):
        if value is not None and not isinstance(value, wanted):
            raise DefinitionsError(
                f"{name} is no {wanted.__name__}",
                found=f"{type(value).__name__}: {value!r}",
                allowed=f"an instance of {wanted.__name__} or of a subclass",
                remedy=f"pass {name}={wanted.__name__}(...)",
            )
    chosen = translator or MetaxyTranslator()
    wanted_settings = settings or chosen.settings
    given = {name: value for name, value in overrides.items() if value is not None}
    if given:
        wanted_settings = replace(wanted_settings, **given)
    if not inject_code_version:
        wanted_settings = replace(wanted_settings, enable_code_versions=False)
    if wanted_settings == chosen.settings:
        return chosen
    return replace(chosen, settings=wanted_settings)


def _wrapped(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    # wraps keeps the signature that Dagster inspects for a ComponentLoadContext parameter.
    @functools.wraps(function)
    def load(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        if not isinstance(made, dg.Definitions):
            raise _refused(made)
        return _passed(made, options, function.__module__)

    return load


def _passed(
    defs: dg.Definitions, options: dict[str, Any], module: str | None = None
) -> dg.Definitions:
    return note_plan(plan_definitions(defs, **options), module).apply()


def _refused(found: object) -> DefinitionsError:
    remedy = "pass the Definitions object, or the function that returns it"
    if isinstance(found, dg.RepositoryDefinition):
        remedy = "pass the Definitions that the repository was made from, before it is resolved"
    elif isinstance(found, dg.AssetsDefinition | dg.AssetSpec):
        remedy = "use metaxify for a single asset"
    return DefinitionsError(
        "this is not a Definitions object",
        found=f"{type(found).__name__}: {found!r}",
        allowed="dagster.Definitions, a function that returns them, or @dagster.definitions",
        remedy=remedy,
    )
