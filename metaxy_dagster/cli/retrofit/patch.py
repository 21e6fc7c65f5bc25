"""What becomes of a user's files, as a patch to review."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metaxy_dagster.cli.load import Loaded, Target, definitions_in
from metaxy_dagster.cli.retrofit.places import Place
from metaxy_dagster.cli.retrofit.proposal import Proposal
from metaxy_dagster.cli.retrofit.source import with_keys, with_pass

__all__ = ["Patch", "patch_of"]


@dataclass(frozen=True)
class Patch:
    """What becomes of the files, and what cannot be written into them.

    Attributes:
        directory: the names in the patch start from it.
        before: the text of each file.
        after: of those that change.
        by_hand: what only a person can do, in words.
    """

    directory: Path
    before: Mapping[Path, str]
    after: Mapping[Path, str]
    by_hand: tuple[str, ...]

    def diff(self) -> str:
        """The unified diff; empty if nothing changes."""
        return "".join(
            line
            for file, text in self.after.items()
            for line in difflib.unified_diff(
                self.before[file].splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"a/{_named(file, self.directory)}",
                f"b/{_named(file, self.directory)}",
            )
        )


def patch_of(
    proposals: Sequence[Proposal], loaded: Loaded, target: Target, directory: Path
) -> Patch:
    """Write proposals into the code.

    Args:
        proposals: what is proposed; those without keys are passed over.
        loaded: the repository.
        target: where it was loaded from.
        directory: where names of files start.
    """
    at: dict[Place, list[Proposal]] = {}
    by_hand: list[str] = []
    for each in proposals:
        if isinstance(each.place, Place) and each.keys:
            at.setdefault(each.place, []).append(each)
        elif each.keys:
            by_hand.append(f"{each.asset}: {each.place}; add {_shown(each.keys)}")
    single = {place: some[0] for place, some in at.items() if len(some) == 1}
    by_hand += _made_by_one(at)
    before: dict[Path, str] = {}
    after: dict[Path, str] = {}
    for file in sorted({place.file for place in single}):
        mine = {
            (place.line, place.name): each.keys
            for place, each in single.items()
            if place.file == file
        }
        before[file] = file.read_text(encoding="utf-8")
        added = with_keys(before[file], mine)
        by_hand += [
            f"{single[Place(file, line, name)].asset}: nothing above {name} in "
            f"{_named(file, directory)} line {line} takes metadata; add {_shown(mine[line, name])}"
            for line, name in added.missed
        ]
        if added.source != before[file]:
            after[file] = added.source
    if after and not loaded.applied:
        by_hand += _wrap(target, before, after)
    return Patch(directory, before, after, tuple(by_hand))


def _made_by_one(at: Mapping[Place, Sequence[Proposal]]) -> Iterator[str]:
    for place, some in at.items():
        if len(some) > 1:
            names = ", ".join(each.asset for each in some)
            keys = "; ".join(f"{each.asset} {_shown(each.keys)}" for each in some)
            yield f"{names}: one function makes them all, {place.file.name}:{place.line}; {keys}"


def _wrap(target: Target, before: dict[Path, str], after: dict[Path, str]) -> Iterator[str]:
    """Call the pass where the Definitions are."""
    file, name = definitions_in(target)
    text = after.get(file) or file.read_text(encoding="utf-8")
    changed = with_pass(text, name)
    if changed is None:
        yield f"call metaxify_definitions({name}) where the Definitions are made"
        return
    before.setdefault(file, file.read_text(encoding="utf-8"))
    after[file] = changed


def _shown(keys: Mapping[str, object]) -> str:
    return json.dumps(dict(keys), ensure_ascii=False)


def _named(file: Path, directory: Path) -> str:
    root = directory.resolve()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()
