"""The pass: repository, bindings, rules, plan, apply, report."""

from __future__ import annotations

from dagster_shared.libraries import DagsterLibraryRegistry

from metaxy_dagster import __version__
from metaxy_dagster.definitions.bindings.translator import MetaxyTranslator
from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData
from metaxy_dagster.definitions.decorator import metaxify
from metaxy_dagster.definitions.metaxify_plan import MetaxifyPlan
from metaxy_dagster.definitions.plan.plans import (
    AssetPlan,
    Change,
    DefinitionPlan,
    Notice,
    NoticeKind,
)
from metaxy_dagster.definitions.settings import MetaxifySettings
from metaxy_dagster.definitions.transform import metaxify_definitions, plan_definitions

__all__ = [
    "AssetPlan",
    "Change",
    "DefinitionPlan",
    "MetaxifyPlan",
    "MetaxifySettings",
    "MetaxyTranslator",
    "MetaxyTranslatorData",
    "Notice",
    "NoticeKind",
    "metaxify",
    "metaxify_definitions",
    "plan_definitions",
]

DagsterLibraryRegistry.register("metaxy-dagster", __version__, is_dagster_package=False)
