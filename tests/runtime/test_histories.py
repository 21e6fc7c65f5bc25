"""After any history the tables equal what a full recompute would give."""

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from feature_runs import IO_MANAGER, Repository, stored
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import metaxy_dagster as mxd

KEYS = ("thumb", "name", "pair")
samples = st.dictionaries(
    st.integers(0, 4),
    st.tuples(st.sampled_from(["p", "q", "r"]), st.sampled_from(["l", "m"])),
    min_size=1,
)
step = st.fixed_dictionaries(
    {
        "rows": samples,
        "fails": st.sampled_from([None, None, *KEYS]),
        "leave_out": st.sets(st.integers(0, 4), max_size=2),
        "only": st.sampled_from([None, None, ("image",), ("image", "thumb"), ("pair",)]),
    }
)


@pytest.fixture
def graph() -> mxd.FeatureGraph:
    """With the columns of each feature, so that one of which nothing is stored has them too."""
    made = mxd.FeatureGraph()
    fields = [mxd.FieldSpec(name, columns=[name]) for name in ("pixels", "label")]
    made.add(mxd.FeatureSpec("image", id_columns=["id"], fields=fields))
    for name, parent in {"thumb": "pixels", "name": "label"}.items():
        deps = [mxd.FieldDep("image", fields=[parent])]
        field = mxd.FieldSpec(name, columns=[name], deps=deps)
        made.add(mxd.FeatureSpec(name, id_columns=["id"], fields=[field], deps=["image"]))
    made.add(mxd.FeatureSpec("pair", id_columns=["id"], deps=["thumb", "name"]))
    return made


def run(
    instance: dg.DagsterInstance,
    repository: Repository,
    manager: mxd.MetaxyIOManager,
    only: Any = None,
) -> bool:
    return dg.materialize(
        repository.assets(),
        instance=instance,
        resources={IO_MANAGER: manager},
        selection=None if only is None else list(only),
        raise_on_error=False,
    ).success


@pytest.mark.parametrize("unreturned", ["pending", "empty"])
@settings(
    max_examples=4,
    # An example takes seconds: what fails is shown as it was found.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(step, min_size=1, max_size=3), last=samples)
def test_increments_equal_a_full_recompute(
    graph: mxd.FeatureGraph,
    instance: dg.DagsterInstance,
    unreturned: str,
    history: list[dict[str, Any]],
    last: dict[int, tuple[str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Failures are tried again for ever: quarantine is not what is looked at here, either.
        store = mxd.DuckDBMetadataStore(Path(folder) / "m.duckdb", graph=graph, max_attempts=0)
        # The guard against large deletions is not what is looked at here.
        manager = mxd.MetaxyIOManager(store=store, max_deleted_share=1.0)
        repository = Repository({})
        repository.unreturned = unreturned
        for each in history:
            repository.rows = each["rows"]
            repository.fails, repository.leave_out = each["fails"], each["leave_out"]
            run(instance, repository, manager, each["only"])
        repository.rows, repository.fails, repository.leave_out = last, None, set()
        assert run(instance, repository, manager)
        expected = repository.expected()
        assert {key: stored(store, key) for key in KEYS} == expected
        for key in KEYS:
            assert store.resolve_update(key).counts == mxd.Counts(0, 0, 0)
        repository.given = {}
        assert run(instance, repository, manager)
        assert all(not ids for frames in repository.given.values() for ids in frames)
