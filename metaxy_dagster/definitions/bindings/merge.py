"""Fill, never override: what the user set on an asset wins over what its feature says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from metaxy_dagster.constants import (
    KEY_COLUMN_LINEAGE,
    KEY_FEATURE,
    KEY_INFO,
    KIND,
    TAG_FEATURE,
    TAG_PROJECT,
)
from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.plan.plans import Change, Notice, NoticeKind
from metaxy_dagster.features.tags import TAG_VALUE_RULE, feature_tag, tag_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaxy_dagster.definitions.bindings.translator_data import MetaxyTranslatorData

__all__ = ["Filled", "fill"]

#: Metadata that the pass itself writes; it follows the feature, not an earlier pass.
_OURS: Final = (KEY_FEATURE, KEY_INFO)
_SHORT: Final = 60


@dataclass(frozen=True, eq=False)
class Filled:
    """What filling the gaps of one asset comes to.

    Args:
        attributes: arguments for ``AssetSpec.replace_attributes``; only those that change.
        changes: the same in words.
        notices: what could not be brought over.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def set(self, attribute: str, value: object, shown: str, why: str) -> None:
        """Note one changed attribute."""
        self.attributes[attribute] = value
        self.changes.append(Change(attribute, shown, why))


def fill(current: dg.AssetSpec, proposed: dg.AssetSpec, data: MetaxyTranslatorData) -> Filled:
    """Merge what a feature says into an asset's spec; keys and deps are not touched here.

    Args:
        current: the asset's spec as the user wrote it.
        proposed: the translator's spec.
        data: the feature, for messages.

    Returns:
        The attributes to replace, none where the asset has all of it already.
    """
    filled = Filled()
    why = f"feature {data.spec.key}"
    if not current.description and proposed.description:
        filled.set("description", proposed.description, _short(proposed.description), why)
    if current.group_name in (None, _compat.DEFAULT_GROUP) and proposed.group_name not in (
        None,
        current.group_name,
    ):
        filled.set("group_name", proposed.group_name, str(proposed.group_name), why)
    if current.code_version is None and proposed.code_version is not None:
        filled.set("code_version", proposed.code_version, proposed.code_version, why)
    owners = [owner for owner in proposed.owners if owner not in current.owners]
    if owners:
        filled.set("owners", [*current.owners, *owners], ", ".join(owners), why)
    _fill_tags(filled, current, proposed, data, why)
    _fill_kinds(filled, current, proposed, why)
    _fill_metadata(filled, current.metadata, proposed.metadata, why)
    return filled


def _fill_tags(
    filled: Filled,
    current: dg.AssetSpec,
    proposed: dg.AssetSpec,
    data: MetaxyTranslatorData,
    why: str,
) -> None:
    mine = _plain_tags(current.tags)
    added = {tag: value for tag, value in _plain_tags(proposed.tags).items() if tag not in mine}
    if added:
        shown = ", ".join(f"{tag}={value}" for tag, value in added.items())
        filled.set("tags", {**added, **mine}, shown, why)
    for tag, text, value in (
        (TAG_FEATURE, str(data.spec.key), feature_tag),
        (TAG_PROJECT, data.project, tag_value),
    ):
        if text is not None and value(text) is None:
            filled.notices.append(
                Notice(
                    NoticeKind.LIMIT,
                    f"the tag {tag} is left out: {text!r} is no valid tag value ({TAG_VALUE_RULE})",
                    current.key.to_user_string(),
                )
            )


def _fill_kinds(filled: Filled, current: dg.AssetSpec, proposed: dg.AssetSpec, why: str) -> None:
    # The library's own kind gives way first where there is no room for all.
    added = sorted(proposed.kinds - current.kinds, key=lambda kind: (kind == KIND, kind))
    room = max(_compat.kind_limit() - len(current.kinds), 0)
    if added[:room]:
        filled.set("kinds", current.kinds | set(added[:room]), ", ".join(added[:room]), why)
    if added[room:]:
        filled.notices.append(
            Notice(
                NoticeKind.LIMIT,
                f"the kind {', '.join(added[room:])} is left out: Dagster {dg.__version__} allows "
                f"{_compat.kind_limit()} kinds per asset",
                current.key.to_user_string(),
            )
        )


def _fill_metadata(
    filled: Filled, mine: Mapping[str, Any], theirs: Mapping[str, Any], why: str
) -> None:
    merged = dict(mine)
    changed: list[str] = []
    for key, value in theirs.items():
        result = value if key not in mine or key in _OURS else _merged(key, mine[key], value)
        if key not in mine or not _same(result, mine[key]):
            merged[key] = result
            changed.append(key)
    if changed:
        filled.set("metadata", merged, ", ".join(changed), why)


def _merged(key: str, mine: Any, theirs: Any) -> Any:
    """The user's value; for collections together with what the feature adds to it."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return {**theirs, **mine}
    if isinstance(mine, list) and isinstance(theirs, list | tuple):
        return [*mine, *(each for each in theirs if each not in mine)]
    if key == KEY_COLUMN_LINEAGE:
        lineage, more = _lineage(mine), _lineage(theirs)
        if lineage is not None and more is not None:
            added = {
                k: v for k, v in more.deps_by_column.items() if k not in lineage.deps_by_column
            }
            if added:
                return dg.TableColumnLineage({**lineage.deps_by_column, **added})
    return mine


def _lineage(value: object) -> dg.TableColumnLineage | None:
    value = getattr(value, "column_lineage", value)
    return value if isinstance(value, dg.TableColumnLineage) else None


def _same(left: object, right: object) -> bool:
    """Equality that never raises: metadata may hold anything, arrays for one."""
    if left is right:
        return True
    return type(left) is type(right) and bool(left == right)


def _plain_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: value for tag, value in tags.items() if not tag.startswith(_compat.KIND_PREFIX)}


def _short(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"
