"""What a plan says of many assets alike, so that it can be said once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from metaxy_dagster.constants import TAG_FEATURE
from metaxy_dagster.definitions.plan.plans import AssetPlan, Change, Notice

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["Common", "common_changes", "common_notices", "some"]

#: What so many assets have in common is said once.
_MANY: Final = 12
#: Warnings are longer.
_MANY_WARNINGS: Final = 4
_NAMES: Final = 3
_TAG: Final = re.compile(rf"{TAG_FEATURE}=[^,\s]+")
_WORD: Final = re.compile(r"[\w./:-]*\w")


@dataclass(frozen=True)
class Common:
    """Changes that many assets have in common.

    Args:
        assets: their keys.
        changes: the changes, without the names of the assets' features.
    """

    assets: tuple[str, ...]
    changes: tuple[Change, ...]


def common_changes(
    assets: Iterable[AssetPlan],
) -> tuple[Sequence[Common], Mapping[dg.AssetKey, tuple[Change, ...]]]:
    """What many assets have in common, and what is left to say of each.

    Args:
        assets: the plans of assets.

    Returns:
        The former by the assets that have it in common, and the latter by key.
    """
    changed = [each for each in assets if each.changes]
    holders: defaultdict[Change, dict[str, None]] = defaultdict(dict)
    for each in changed:
        for change in each.changes:
            holders[_nameless(each, change)][each.key.to_user_string()] = None
    groups: defaultdict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change, names in holders.items():
        if len(names) >= _MANY:
            groups[tuple(names)].append(change)
    said = {change for changes in groups.values() for change in changes}
    rest = {
        each.key: tuple(one for one in each.changes if _nameless(each, one) not in said)
        for each in changed
    }
    return [Common(names, tuple(changes)) for names, changes in groups.items()], rest


def common_notices(
    notices: Iterable[Notice], names: Collection[str]
) -> Sequence[tuple[Notice, Sequence[str]]]:
    """Warnings, with the other assets of which the same is said.

    Args:
        notices: all of a plan.
        names: of assets and features; messages that differ in these only are the same.

    Returns:
        The first of its kind where there are many, else each, in their order.
    """
    alike: defaultdict[tuple[str, str], list[Notice]] = defaultdict(list)
    for each in notices:
        alike[_form(each, names)].append(each)
    found: list[tuple[Notice, Sequence[str]]] = []
    for each in notices:
        group = alike[_form(each, names)]
        if len(group) < _MANY_WARNINGS:
            found.append((each, ()))
        elif each is group[0]:
            found.append((each, [str(other.asset) for other in group[1:]]))
    return found


def some(names: Sequence[str]) -> str:
    """A few of many names.

    Example:
        >>> some(["a", "b"]), some(["a", "b", "c", "d"])
        ('a, b', 'a, b, c, …')
    """
    return ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")


def _nameless(asset: AssetPlan, change: Change) -> Change:
    """A change in words that do not name the asset's feature."""
    if asset.feature is None:
        return change
    name = str(asset.feature)
    value = _TAG.sub(TAG_FEATURE, change.value) if change.what == "tags" else change.value
    if change.what == "code_version" and change.why == f"feature {name}":
        value = "that of its feature"
    return replace(change, value=value, why=change.why.replace(f"feature {name}", "its feature"))


def _form(notice: Notice, names: Collection[str]) -> tuple[str, str]:
    if notice.asset is None:
        return "", notice.message
    text = _WORD.sub(lambda found: "…" if found[0] in names else found[0], notice.message)
    return str(notice.kind), text
