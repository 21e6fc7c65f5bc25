"""What a process of Dagster pays for that loads the definitions and touches no sample."""

import json
import subprocess
import sys
import textwrap
import typing

import pytest
from patience import patient

import metaxy_dagster as mxd

HEAVY = {"duckdb", "narwhals", "numpy", "pandas", "polars", "pyarrow", "rich"}

DEFINE = """
    import dagster as dg
    import metaxy_dagster as mxd

    class Score(mxd.BaseFeature, spec=mxd.FeatureSpec(
        "score", id_columns=["id"], deps=[mxd.FeatureDep(feature="image", filters=["id > 3"])],
    )):
        id: int
        value: float

    @dg.asset(metadata={"metaxy/feature": "image", "metaxy/id_columns": ["id"]})
    def image(): ...

    @dg.asset(metadata={"metaxy/feature": "score", "metaxy/input": "increment",
                        "metaxy/batch_size": 10})
    def score(image): ...
    """


def loaded(code: str) -> set[str]:
    """The modules that are loaded after a fresh process has run the code."""
    said = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [sys.executable, "-c", textwrap.dedent(code) + said],
        check=False,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "import dagster, metaxy_dagster as m\nfor name in m.__all__: getattr(m, name)",
            id="every-public-name",
        ),
        pytest.param(
            DEFINE
            + """
    plan = mxd.plan_definitions(dg.Definitions(assets=[image, score]))
    assert "score" in plan.render(), plan.render()
    """,
            id="plan",
        ),
        pytest.param(
            DEFINE
            + """
    defs = mxd.metaxify_definitions(
        dg.Definitions(assets=[image, score]),
        store="never-made.duckdb",
        checks="all",
        settings=mxd.MetaxifySettings(pending_sensor=True, pending_condition=True),
    )
    assert isinstance(defs.resources["metaxy_io_manager"], mxd.MetaxyIOManager)
    assert issubclass(mxd.DuckDBMetadataStore, mxd.MetadataStore)
    defs.get_repository_def().load_all_definitions()
    """,
            id="metaxify",
        ),
    ],
)
def test_definitions_load_neither_a_database_nor_frames(code):
    modules = loaded(code)
    assert not modules & HEAVY
    # The face of the embedded store is there; what opens its file is not.
    assert "metaxy_dagster.stores.duckdb.file.connection" not in modules


def test_a_store_brings_what_it_needs():
    modules = loaded("import metaxy_dagster as mxd\nmxd.DuckDBMetadataStore('m.duckdb')")
    assert "duckdb" in modules


@pytest.mark.parametrize(
    "function",
    [
        mxd.DuckDBMetadataStore.read,
        mxd.DuckDBMetadataStore.read_table,
        mxd.DuckDBMetadataStore.write,
        mxd.DuckDBMetadataStore.resolve_update,
        mxd.Increment.batches,
        mxd.each_batch,
    ],
)
def test_annotations_resolve_all_the_same(function):
    assert typing.get_type_hints(function)["return"] is not None


def test_a_name_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(AttributeError, match=r"metaxy_dagster.*has no attribute 'metaxify_all'"):
        _ = mxd.metaxify_all
