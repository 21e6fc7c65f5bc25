"""A process that dies between the writes of a wrapped IO manager costs work, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from kept_orders import DiedError, Shop

FIRST = {1: ("mo", 10), 2: ("mo", 20), 3: ("tu", 5), 4: ("we", 7)}
# Changed, gone, new, in a group of its own; a group that yields nothing any more.
SECOND = {1: ("mo", 11), 2: ("mo", 20), 4: ("we", 0), 5: ("th", 1)}
THIRD = {2: ("tu", 21), 3: ("tu", 5), 4: ("we", 7), 6: ("fr", 2)}
NAMES = ["orders", "taxed", "days"]
POINTS = ["invalidate", "write", "before", "after", "write 1"]
CASES = [
    f"{asset} {point}"
    for asset, point in itertools.product(NAMES, POINTS)
    # Of a root nothing is announced.
    if (asset, point) != ("orders", "write 1")
]


def compare(shop: Shop, orders: Any, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """What is stored is what the repository would have stored from scratch, without us."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    alone = Shop(scratch, instance, alone=True)
    alone.run(orders)
    found, expected = shop.shelf.tables(), alone.shelf.tables()
    assert list(found) == list(expected)
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(found[name], frame)


@pytest.mark.parametrize(
    ("where", "then"),
    [(where, "back") for where in CASES]
    + [(where, then) for where in CASES if where.endswith("after") for then in ("same", "on")],
)
def test_a_rerun_is_as_from_scratch(
    where: str,
    then: str,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(tmp_path, instance)
    shop.run(FIRST)
    with shop.dying(where, monkeypatch), pytest.raises(DiedError):
        shop.run(SECOND)
    # Whoever is downstream looks at the half of it that is there.
    below = NAMES[NAMES.index(where.split(maxsplit=1)[0]) + 1 :]
    if below:
        shop.run(only=below)
    after = {"back": FIRST, "same": SECOND, "on": THIRD}[then]
    shop.run(after)
    compare(shop, after, tmp_path, instance)
    shop.run(after)
    assert shop.computed == {"taxed": [], "days": []}


@pytest.mark.parametrize("where", ["taxed after", "days after"])
def test_what_was_new_and_is_gone_again_leaves_nothing_behind(
    where: str, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, instance)
    shop.run(FIRST)
    with shop.dying(where, monkeypatch), pytest.raises(DiedError):
        shop.run({**FIRST, 5: ("th", 1)})
    shop.run(FIRST)
    compare(shop, FIRST, tmp_path, instance)


@pytest.mark.parametrize("where", ["taxed after", "days before", "orders after"])
def test_a_first_run_that_dies_leaves_nothing_behind(
    where: str, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, instance)
    with shop.dying(where, monkeypatch), pytest.raises(DiedError):
        shop.run(SECOND)
    # All that was new is not there any more.
    after = {9: ("su", 3)}
    shop.run(after)
    compare(shop, after, tmp_path, instance)
