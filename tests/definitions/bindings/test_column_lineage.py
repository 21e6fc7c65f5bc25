"""Which upstream columns a column is said to come from."""

from __future__ import annotations

import dagster as dg
import pytest

from metaxy_dagster import (
    BaseFeature,
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldDep,
    FieldSpec,
    metaxify_definitions,
)


@pytest.fixture
def graph() -> FeatureGraph:
    graph = FeatureGraph()
    with graph.use():

        class Scan(
            BaseFeature, spec=FeatureSpec("scan", id_columns=["id"], fields=[FieldSpec("image")])
        ):
            id: int
            day: str
            image: str

        class Typed(BaseFeature, spec=FeatureSpec("typed", id_columns=["id"])):
            id: int
            word: str

        class Profile(
            BaseFeature,
            spec=FeatureSpec(
                "profile",
                id_columns=["id"],
                fields=[FieldSpec("profile", deps=[FieldDep(Scan, fields=["image"])])],
                deps=[Scan],
            ),
        ):
            id: int
            day: str
            profile: list[float]

        class Verdict(
            BaseFeature,
            spec=FeatureSpec(
                "verdict",
                id_columns=["id"],
                deps=[FeatureDep(Profile, rename={"profile": "shape"}), Typed],
            ),
        ):
            id: int
            day: str
            shape: list[float]
            agreed: bool

        class Chosen(
            BaseFeature,
            spec=FeatureSpec(
                "chosen", id_columns=["id"], deps=[FeatureDep(Scan, select=["image"])]
            ),
        ):
            id: int
            day: str
            image: str

    return graph


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (
            "profile",
            {"id": {"scan.id"}, "day": {"scan.day"}, "profile": {"scan.image"}},
        ),
        (
            "verdict",
            {
                "id": {"profile.id", "typed.id"},
                "day": {"profile.day"},
                "shape": {"profile.profile"},
                "agreed": {"profile.profile", "typed.word"},
            },
        ),
        # Its day was not selected, so it cannot come from the scan's.
        ("chosen", {"id": {"scan.id"}, "image": {"scan.image"}, "day": {"scan.image"}}),
    ],
)
def test_a_column_that_an_upstream_has_too_comes_from_there(
    graph: FeatureGraph, feature: str, expected: dict[str, set[str]]
) -> None:
    specs = [dg.AssetSpec(str(key), metadata={"metaxy/feature": str(key)}) for key in graph]
    made = metaxify_definitions(dg.Definitions(assets=specs), features=graph, store="m.duckdb")
    (spec,) = [one for one in made.resolve_all_asset_specs() if one.key.path == [feature]]
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    found = {
        column: {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps}
        for column, deps in lineage.items()
    }
    assert found == expected
