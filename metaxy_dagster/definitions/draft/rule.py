"""The shape of all rules.

A rule is a function of the bindings, with the settings in them, and of what is planned so far. It
yields what changes, what a person should know, and what is at fault. What it is a function of is
an asset with a feature, a unit (one object of the Definitions), or the repository.

What a rule decides of a unit's op or graph it sets on the unit's draft, for the rules after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from metaxy_dagster.definitions.draft.findings import Over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft
    from metaxy_dagster.definitions.draft.drafts import TiedDraft, UnitDraft
    from metaxy_dagster.definitions.draft.findings import Found

__all__ = ["AssetRule", "RepositoryRule", "Rule", "UnitRule"]


@dataclass(frozen=True)
class Rule:
    """One rule; used as a decorator of its function.

    Args:
        find: given the bindings and what it is a rule of, yields what it finds.
        sound: whether it is asked only while nothing is at fault.
        whole: whether it is for whole repositories, and not for a single decorated asset.
        of_assets: whether a fault is one of each asset; if not, the same fault counts once.
    """

    find: Callable[[Bindings, Any], Iterable[Found]]
    sound: bool = False
    whole: bool = False
    of_assets: bool = True
    over: ClassVar[Over]


@dataclass(frozen=True)
class AssetRule(Rule):
    """A rule of each asset that carries a feature."""

    find: Callable[[Bindings, TiedDraft], Iterable[Found]]
    over: ClassVar[Over] = Over.ASSET


@dataclass(frozen=True)
class UnitRule(Rule):
    """A rule of each unit that something may change in."""

    find: Callable[[Bindings, UnitDraft], Iterable[Found]]
    over: ClassVar[Over] = Over.UNIT


@dataclass(frozen=True)
class RepositoryRule(Rule):
    """A rule of the repository, looked at as a whole."""

    find: Callable[[Bindings, Draft], Iterable[Found]]
    of_assets: bool = False
    over: ClassVar[Over] = Over.REPOSITORY
