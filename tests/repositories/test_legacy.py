"""Random old repositories, retrofitted: the same tables where readers look, and less computed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from legacy import PARTS, Repository, World, expected, inputs, numbers, rows_of, shapes, tuples

import metaxy_dagster as mxd

EXAMPLES = int(os.environ.get("METAXY_LEGACY_EXAMPLES", "6"))

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), shape=shapes())
def test_every_output_is_as_if_it_were_computed_anew(data: st.DataObject, shape: Any) -> None:
    world: World = {name: data.draw(numbers()) for name in ("r0", "r1")}
    with tempfile.TemporaryDirectory() as name, dg.instance_for_test(temp_dir=name) as instance:
        folder = Path(name) / "data"
        repository = Repository(shape, folder, world, keys=True)
        path = Path(name) / "m.duckdb"
        defs = mxd.metaxify_definitions(repository.definitions(), features=[], store=str(path))
        store = mxd.DuckDBMetadataStore(path).with_graph(
            defs.resources["metaxy_io_manager"].store.graph
        )
        before: dict[str, dict[Any, Any]] = {}
        for _ in range(data.draw(st.integers(2, 4))):
            change(data, world)
            tried: dict[str, list[Any]] = {}
            if data.draw(st.integers(0, 3)) == 0:
                derived = [node.name for node in shape.nodes if node.kind != "root"]
                repository.fails = data.draw(st.sampled_from(derived))
                ran = run(defs, instance, partitioned=shape.partitioned, raises=False)
                event(f"a run that fails: {not ran}")
                repository.fails = None
                tried = repository.computed
                if data.draw(st.booleans()):
                    # What is upstream goes on meanwhile.
                    change(data, world)
            repository.computed = {}
            assert run(defs, instance, partitioned=shape.partitioned)
            agrees(repository, store)
            sparing(repository, before, tried)
            before = inputs(shape, world)
        anew = Repository(shape, Path(name) / "anew", world)
        with dg.instance_for_test() as other:
            assert run(anew.definitions(), other, partitioned=shape.partitioned)
        for output in expected(shape, world):
            if shape.of(output).manager != "default" and shape.of(output).kind != "files":
                assert anew.stored(output) == repository.stored(output)


def change(data: st.DataObject, world: World) -> None:
    """Rows come, go and change."""
    for root in world:
        if data.draw(st.booleans()):
            world[root] = {**world[root], **data.draw(numbers())}
        for key in [key for key in world[root] if data.draw(st.integers(0, 4)) == 0]:
            del world[root][key]


def run(
    defs: dg.Definitions, instance: dg.DagsterInstance, *, partitioned: bool, raises: bool = True
) -> bool:
    """All assets, partition by partition."""
    job = defs.resolve_implicit_global_asset_job_def()
    options: dict[str, Any] = {"instance": instance, "raise_on_error": raises}
    parts = PARTS if partitioned else (None,)
    done = [job.execute_in_process(**options, partition_key=part).success for part in parts]
    return all(done)


def agrees(repository: Repository, store: mxd.MetadataStore) -> None:
    """Each output, where its readers find it."""
    for name, rows in expected(repository.shape, repository.world).items():
        node = repository.shape.of(name)
        if node.kind == "files":
            # Old files stay, as they did before.
            wanted = {tuple(map(str, row.values())) for row in rows.values()}
            assert wanted <= set(repository.stored(name)), name
        elif node.manager == "default":
            found = list(rows_of(store.read(name)))
            assert tuples(found) == tuples(rows.values()), name
        else:
            assert repository.stored(name) == tuples(rows.values()), name


def sparing(
    repository: Repository, before: dict[str, dict[Any, Any]], tried: dict[str, list[Any]]
) -> None:
    """No sample is computed whose inputs are as they were, and none twice."""
    now = inputs(repository.shape, repository.world)
    for name, given_samples in repository.computed.items():
        node = repository.shape.of(name)
        if not node.increment:
            continue
        assert len(given_samples) == len(set(given_samples)), name
        changed = {key for key, one in now[name].items() if before.get(name, {}).get(key) != one}
        # A run that failed has begun some, and so has what is upstream of them.
        begun = set().union(*tried.values()) if tried else set()
        assert set(given_samples) <= changed | begun, name
