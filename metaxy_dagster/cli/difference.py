"""What changed between two plans, for a pull request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metaxy_dagster.errors import ConfigError

__all__ = ["Difference", "compare", "read_plan"]

_LISTS: Final = ("external_assets", "asset_checks", "automations", "warnings", "errors")
_Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One asset, or another part of a plan, that differs.

    Args:
        name: the asset's key in the repository, or what it is.
        sign: ``"+"`` only in the new plan, ``"-"`` only in the old one, ``"~"`` in both.
        details: its changes: a sign, what, and the old and new values in words.
    """

    name: str
    sign: str
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Difference:
    """Everything that differs between an old and a new plan.

    Args:
        assets: assets by key, in order.
        others: the other parts, by title.
    """

    assets: tuple[Entry, ...] = ()
    others: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.assets or self.others)

    def render(self, form: str) -> str:
        """As ``"text"``, ``"markdown"`` or ``"json"``."""
        if form == "json":
            return json.dumps(self._data(), indent=2, sort_keys=True)
        lines = self._markdown() if form == "markdown" else self._text()
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """One line."""
        if not self:
            return "the plans are the same"
        count = {sign: sum(each.sign == sign for each in self.assets) for sign in "+-~"}
        said = f"{count['+']} assets added, {count['-']} removed, {count['~']} changed"
        if self.others:
            said += "; also " + ", ".join(self.others)
        return said

    def _text(self) -> Iterator[str]:
        yield f"metaxify: {self.summary}"
        for each in self.assets:
            yield f"\n{each.sign} {each.name}"
            yield from (f"    {sign} {detail}" for sign, detail in each.details)
        for title, entries in self.others.items():
            yield f"\n{title}"
            yield from (f"    {each.sign} {each.name}" for each in entries)

    def _markdown(self) -> Iterator[str]:
        yield "# metaxify plan: what changed\n"
        yield f"{self.summary}\n"
        # In a block of this kind, a pull request shows added and removed lines in colour.
        for title, entries in {"assets": self.assets, **self.others}.items():
            if entries:
                yield f"## {title}\n\n```diff"
                for each in entries:
                    yield f"{_fence(each.sign)} {_one_line(each.name)}"
                    for sign, detail in each.details:
                        yield f"{_fence(sign)}     {_one_line(detail)}"
                yield "```\n"

    def _data(self) -> dict[str, Any]:
        return {
            "different": bool(self),
            "assets": [
                {
                    "key": each.name,
                    "status": {"+": "added", "-": "removed", "~": "changed"}[each.sign],
                    "details": [f"{sign} {detail}" for sign, detail in each.details],
                }
                for each in self.assets
            ],
            **{
                title: [f"{each.sign} {each.name}" for each in entries]
                for title, entries in self.others.items()
            },
        }


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan that ``metaxy-dagster plan --format json`` printed.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _no_plan(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not _is_plan(found):
        raise _no_plan(path, "JSON of another kind")
    return found


def _is_plan(found: Mapping[str, Any]) -> bool:
    assets, left = found.get("assets"), found.get("left_alone")
    resources = found.get("resources", {})
    return (
        isinstance(left, list)
        and isinstance(resources, dict)
        and all(
            isinstance(said, dict) and {"value", "why"} <= set(said) for said in resources.values()
        )
        and isinstance(assets, list)
        and all(
            isinstance(each, dict) and {"key", "new_key", "feature", "changes"} <= set(each)
            for each in assets
        )
    )


def _no_plan(path: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{path} is no plan",
        found=found,
        allowed="what `metaxy-dagster plan --format json` printed",
        remedy="write one with: metaxy-dagster plan -m MODULE --format json > plan.json",
    )


def compare(old: _Plan, new: _Plan) -> Difference:
    """Compare two plans given as the data of their JSON form.

    Args:
        old: what it was.
        new: what it is.

    Example:
        >>> empty = {"assets": [], "left_alone": [], "longest_chain": 0}
        >>> print(compare(empty, {**empty, "left_alone": ["sales"]}).render("text"))
        metaxify: 1 assets added, 0 removed, 0 changed
        <BLANKLINE>
        + sales
            + left alone
    """
    before, after = _assets(old), _assets(new)
    assets = []
    for key in sorted({*before, *after}):
        details = tuple(_details(before.get(key), after.get(key)))
        if key not in before:
            assets.append(Entry(key, "+", details))
        elif key not in after:
            assets.append(Entry(key, "-", details))
        elif details:
            assets.append(Entry(key, "~", details))
    others = {
        name.replace("_", " "): entries
        for name in _LISTS
        if (entries := tuple(_entries(_lines(old.get(name, [])), _lines(new.get(name, [])))))
    }
    resources = tuple(_entries(_resources(old), _resources(new)))
    if resources:
        others["resources"] = resources
    lengths = [plan.get("longest_chain") for plan in (old, new)]
    if lengths[0] != lengths[1]:
        others["longest chain"] = (Entry(f"{lengths[0]} → {lengths[1]}", "~"),)
    return Difference(tuple(assets), others)


def _assets(plan: _Plan) -> dict[str, dict[str, str]]:
    """By key, what the plan says of an asset; an asset that it leaves alone says just that."""
    found: dict[str, dict[str, str]] = {key: {} for key in plan["left_alone"]}
    for asset in plan["assets"]:
        said = found.setdefault(asset["key"], {})
        if asset["feature"] is not None:
            said["feature"] = asset["feature"]
        if asset["new_key"] != asset["key"]:
            said["new key"] = asset["new_key"]
        several: dict[str, list[str]] = {}
        for change in asset["changes"]:
            several.setdefault(change["what"], []).append(f"{change['value']}  [{change['why']}]")
        for what, values in several.items():
            # Of some attributes there are several, deps for one: each stands for itself.
            said.update(
                {what: values[0]} if len(values) == 1 else {f"{what} {v}": "" for v in values}
            )
    return found


def _details(
    old: Mapping[str, str] | None, new: Mapping[str, str] | None
) -> Iterator[tuple[str, str]]:
    if old is None or new is None:
        sign, one = ("+", new) if old is None else ("-", old)
        yield from ((sign, f"{what}  {value}".rstrip()) for what, value in (one or {}).items())
        if not one:
            yield sign, "left alone"
        return
    for what in dict.fromkeys([*old, *new]):
        if what not in new:
            yield "-", f"{what}  {old[what]}".rstrip()
        elif what not in old:
            yield "+", f"{what}  {new[what]}".rstrip()
        elif old[what] != new[what]:
            yield "~", f"{what}  {old[what]} → {new[what]}"


def _entries(old: Sequence[str], new: Sequence[str]) -> Iterator[Entry]:
    yield from (Entry(line, "-") for line in old if line not in frozenset(new))
    yield from (Entry(line, "+") for line in new if line not in frozenset(old))


def _lines(entries: Iterable[Any]) -> list[str]:
    return [
        entry
        if isinstance(entry, str)
        else ", ".join(f"{name}: {value}" for name, value in sorted(entry.items()) if value)
        for entry in entries
    ]


def _resources(plan: _Plan) -> list[str]:
    return [
        f"{name}: {said['value']}  [{said['why']}]"
        for name, said in sorted(plan.get("resources", {}).items())
    ]


def _fence(sign: str) -> str:
    return "!" if sign == "~" else sign


def _one_line(text: str) -> str:
    return text.replace("\n", " ")
