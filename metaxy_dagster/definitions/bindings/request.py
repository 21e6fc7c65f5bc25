"""What a user asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metaxy_dagster.definitions.bindings.translator import MetaxyTranslator
    from metaxy_dagster.definitions.settings import MetaxifySettings

__all__ = ["Request"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a user asked for.

    Args:
        features: see :func:`metaxify_definitions`.
        store: likewise.
        translator: likewise.
        rename: whether feature assets take the keys of their features.
        with_resources: whether resources are added; a single decorated asset has none.
    """

    translator: MetaxyTranslator
    features: object = None
    store: object = None
    rename: bool = False
    with_resources: bool = True

    @cached_property
    def settings(self) -> MetaxifySettings:
        """The translator's settings."""
        return self.translator.settings
