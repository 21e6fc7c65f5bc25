"""Two components of one code location: one names features of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

from metaxy_dagster.components import MetaxyComponent

pytestmark = [
    # Dagster parses YAML with a function that pydantic is going to drop.
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated"),
    # It notes the YAML file on all definitions, and takes that for its users' doing.
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]

TYPE = "metaxy_dagster.components.MetaxyComponent"
NUMBERS = """
import dagster as dg
import pandas as pd

@dg.asset(metadata={"metaxy/feature": "numbers"})
def numbers() -> pd.DataFrame:
    return pd.DataFrame({"id": [1, 2], "n": [10, 20]})

defs = dg.Definitions(assets=[numbers])
"""
SQUARES = """
import dagster as dg
import metaxy_dagster as mxd

@dg.asset(metadata={"metaxy/feature": "squares"})
def squares(store: dg.ResourceParam[mxd.MetadataStore]) -> None:
    increment = store.resolve_update("squares")
    store.write("squares", increment.new.select("id"), increment=increment)

defs = dg.Definitions(assets=[squares])
"""
NUMBERS_FEATURE: dict[str, Any] = {"key": "numbers", "id_columns": ["id"]}
SQUARES_FEATURE: dict[str, Any] = {"key": "squares", "id_columns": ["id"], "deps": ["numbers"]}


def test_a_component_names_a_feature_of_another_one(tmp_path: Path) -> None:
    store = str(tmp_path / "m.duckdb")
    parts = {
        "numbers_part": (NUMBERS, [NUMBERS_FEATURE]),
        "squares_part": (SQUARES, [NUMBERS_FEATURE, SQUARES_FEATURE]),
    }
    with create_defs_folder_sandbox() as sandbox:
        for name, (code, features) in parts.items():
            attributes = {"target": ".repository:defs", "features": features, "store": store}
            path = sandbox.scaffold_component(
                component_cls=MetaxyComponent,
                defs_path=name,
                defs_yaml_contents={"type": TYPE, "attributes": attributes},
            )
            (path / "repository.py").write_text(code)
        with sandbox.build_all_defs() as defs, dg.DagsterInstance.ephemeral() as instance:
            job = defs.resolve_implicit_global_asset_job_def()
            assert job.execute_in_process(instance=instance).success
            assert len(defs.resources["store"].get_store().read("squares").collect()) == 2
