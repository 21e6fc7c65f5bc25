"""``metaxy-dagster retrofit``: proposes keys for assets, shows them as a patch, and writes it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from metaxy_dagster.cli.console import say
from metaxy_dagster.cli.exits import FAULTS, FINE
from metaxy_dagster.cli.load import Loaded, Target, load
from metaxy_dagster.cli.retrofit.places import Place
from metaxy_dagster.cli.retrofit.proposal import Proposal, Proposer
from metaxy_dagster.cli.retrofit.relation import Upstream
from metaxy_dagster.cli.unknown import unknown_names
from metaxy_dagster.definitions.repository.collect import collect
from metaxy_dagster.errors import ConfigError

if TYPE_CHECKING:
    from metaxy_dagster.cli.retrofit.patch import Patch
    from metaxy_dagster.definitions.repository.collect import Asset

__all__ = ["RetrofitRequest", "retrofit"]


@dataclass(frozen=True)
class RetrofitRequest:
    """What is to be retrofitted.

    Args:
        target: where the definitions are.
        assets: keys of assets, as ``"a/b"``; none for all.
        directory: where modules are imported from; only code below it is changed.
        write: change the files; else only the patch is shown.
        form: ``"text"`` or ``"json"``.
    """

    target: Target
    assets: tuple[str, ...] = ()
    directory: Path = Path()
    write: bool = False
    form: str = "text"


def retrofit(request: RetrofitRequest) -> int:
    """Propose keys, and show or write them.

    Args:
        request: what and how.

    Returns:
        An exit code; of faults if there is an asset that was named and gets no keys.

    Raises:
        ConfigError: the code or the instance cannot be loaded, libcst is not there, or there is
            no such asset.
    """
    if importlib.util.find_spec("libcst") is None:
        raise ConfigError(
            "changing source needs libcst, which is not installed",
            found="no libcst",
            remedy="pip install 'metaxy-dagster[retrofit]'",
        )
    from metaxy_dagster.cli.retrofit.patch import patch_of  # noqa: PLC0415 - needs libcst

    loaded = load(request.target)
    proposals = list(_proposals(loaded, request))
    patch = patch_of(proposals, loaded, request.target, request.directory)
    if request.form == "json":
        say(json.dumps(_data(proposals, patch, request), indent=2))
    else:
        say("\n".join(_told(proposals, patch)))
        say(patch.diff() or "nothing to change")
    if request.write:
        for file, text in patch.after.items():
            file.write_text(text, encoding="utf-8")
        if request.form == "text":
            _show_plan(request)
    elif request.form == "text" and patch.after:
        say("nothing was written; --write does")
    return FAULTS if request.assets and any(each.why_not for each in proposals) else FINE


def _proposals(loaded: Loaded, request: RetrofitRequest) -> Iterator[Proposal]:
    named, found, every = set(request.assets), set(), set[str]()
    for plan in loaded.plans:
        scan = collect(plan.defs)
        every |= {asset.name for asset in scan.assets.values()}
        known = {
            each.key: Upstream(str(each.feature), tuple(plan.graph[each.feature].id_columns), ())
            for each in plan.assets
            if each.feature is not None and each.feature in plan.graph
        }
        proposer = Proposer(plan.defs, known, request.directory)
        for asset in _in_order(list(scan.assets.values())):
            if asset.key in known or asset.names_feature:
                found.add(asset.name)
                if asset.name in named:
                    yield Proposal(asset.name, why_not="it is a feature already")
                continue
            if named and asset.name not in named:
                continue
            found.add(asset.name)
            yield proposer.propose(asset)
    if unknown := sorted(named - found):
        raise unknown_names("asset", unknown, every)


def _in_order(assets: Sequence[Asset]) -> Iterator[Asset]:
    """Upstreams first; Dagster refuses circles."""
    by_key = {asset.key: asset for asset in assets}
    deps = {asset.key: [dep.asset_key for dep in asset.spec.deps] for asset in assets}
    for key in TopologicalSorter(deps).static_order():
        if key in by_key:
            yield by_key[key]


def _told(proposals: Sequence[Proposal], patch: Patch) -> Iterator[str]:
    some = [each for each in proposals if each.keys]
    yield f"{len(some)} assets get keys, {len(proposals) - len(some)} do not"
    for each in some:
        where = each.place
        at = f" ({where.file.name}:{where.line})" if isinstance(where, Place) else ""
        yield f"\n{each.asset}{at}"
        yield from (f"    {json.dumps(name)}: {json.dumps(v)}" for name, v in each.keys.items())
        yield from (f"    because {reason}" for reason in each.because)
        yield from (f"    confirm: {doubt}" for doubt in each.confirm)
    others = [each for each in proposals if not each.keys]
    if others:
        yield "\nwithout keys"
        yield from (f"    {each.asset}: {each.why_not}" for each in others)
    if patch.by_hand:
        yield "\nby hand"
        yield from (f"    {one}" for one in patch.by_hand)
    yield ""


def _data(
    proposals: Sequence[Proposal], patch: Patch, request: RetrofitRequest
) -> dict[str, object]:
    return {
        "assets": [
            {
                "asset": each.asset,
                "keys": dict(each.keys),
                "file": str(each.place.file) if isinstance(each.place, Place) else None,
                "line": each.place.line if isinstance(each.place, Place) else None,
                "because": list(each.because),
                "confirm": list(each.confirm),
                "why_not": each.why_not,
            }
            for each in proposals
        ],
        "by_hand": list(patch.by_hand),
        "patch": patch.diff(),
        "written": request.write,
    }


def _show_plan(request: RetrofitRequest) -> None:
    """The plan of the code as it is now, which only a new process can load."""
    target = request.target
    where = ["-m", target.module] if target.module is not None else ["-f", str(target.file)]
    where += [] if target.attribute is None else ["-a", target.attribute]
    named = [*where, *(["-d", str(request.directory)] if request.directory != Path() else [])]
    command = [sys.executable, "-m", "metaxy_dagster", "plan", *named]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    say("written; the plan of the code as it is now:\n")
    say(done.stdout + done.stderr)
    words = " ".join(named)
    say(f"next, take what exists as computed: metaxy-dagster adopt --all {words} --dry-run")
