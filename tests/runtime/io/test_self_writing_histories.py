"""After any history the data is what a run from scratch would make, and no more was made."""

# Annotations are not postponed here: Dagster reads that of the context when an asset is made.

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from self_writers import Files, World, keys

import metaxy_dagster as mxd

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
CHANGES = st.dictionaries(st.integers(1, 4), st.none() | st.integers(0, 2), max_size=3)
#: What changes upstream, and after how many samples the body is torn; None if it is not.
STEPS = st.lists(st.tuples(CHANGES, st.none() | st.integers(0, 3)), min_size=1, max_size=4)


class TornError(RuntimeError):
    """What a body stops with."""


class Torn(Files):
    """Makes and removes one sample after the other, and is torn after some."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None

    def touch(self, each: int, value: int | None) -> None:
        if self.left == 0:
            raise TornError
        if self.left is not None:
            self.left -= 1
        self.calls.append(each)
        made = self.made.setdefault("x", {})
        if value is None:
            made.pop(each, None)
        else:
            made[each] = value


def asset(files: Torn) -> dg.AssetsDefinition:
    @dg.asset(deps=["raw"], metadata=keys("x", input="increment"))
    def x(increment: mxd.Increment) -> None:
        pending = increment.pending.collect().to_native().select(["id", "size"]).to_pylist()
        for row in pending:
            files.touch(row["id"], row["size"])
        for each in sorted(increment.orphaned.collect()["id"].to_list()):
            files.touch(each, None)

    return x


def run(world: World, files: Torn, torn: int | None) -> bool:
    files.left = torn
    try:
        world.run(tags={"metaxy/max_deleted_share": "1.0"})
    except TornError:
        return False
    return True


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_after_any_history(steps: list[tuple[dict[int, Any], int | None]]) -> None:
    files = Torn()
    with tempfile.TemporaryDirectory() as folder:
        world = World(files, Path(folder), asset(files))
        done: dict[int, int] = {}
        dirty: set[int] = set()
        for changes, torn in [*steps, ({}, None), ({}, None)]:
            for each, value in changes.items():
                if value is None:
                    files.rows.pop(each, None)
                else:
                    files.rows[each] = value
            differs = {i for i in {*done, *files.rows} if done.get(i) != files.rows.get(i)}
            ended = run(world, files, torn)
            assert set(files.calls) <= differs | dirty, "nothing else is made"
            # All that a torn body might have changed is made once more.
            dirty = set() if ended else dirty | differs
            if ended:
                assert files.made.get("x", {}) == files.rows
                done = dict(files.rows)
        assert files.calls == []
