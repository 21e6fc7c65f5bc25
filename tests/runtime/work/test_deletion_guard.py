"""How much a run may delete at once, and where that is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from feature_runs import IO_MANAGER, feature, images, stored

import metaxy_dagster as mxd

KEY = "metaxy/max_deleted_share"
FOUR = {i: (f"p{i}", f"l{i}") for i in range(4)}
BAD = [float("nan"), 5, -1, True, "half"]


def root(rows: dict[int, tuple[str, str]], **metadata: Any) -> dg.AssetsDefinition:
    @dg.asset(**feature("image", **metadata))
    def image() -> pa.Table:
        return images(rows)

    return image


@pytest.fixture
def filled(run: Callable[..., Any]) -> None:
    run(root(FOUR))


WHERE: dict[str, tuple[dict[str, Any], dict[str, str], float]] = {
    "nowhere": ({}, {}, 0.5),
    "metadata": ({KEY: 1.0}, {}, 0.5),
    "a whole number": ({KEY: 1}, {}, 0.5),
    "metadata, wrapped": ({KEY: dg.MetadataValue.float(0.75)}, {}, 0.5),
    "setting": ({}, {}, 1.0),
    "run tag": ({}, {KEY: "1.0"}, 0.5),
    "metadata wins over the setting": ({KEY: 0.5}, {}, 1.0),
    "the run's tag wins over metadata": ({KEY: 1.0}, {KEY: "0.5"}, 1.0),
}
ALLOWED = {"metadata", "a whole number", "metadata, wrapped", "setting", "run tag"}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", WHERE)
def test_where_it_is_said(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, name: str
) -> None:
    metadata, tags, setting = WHERE[name]
    manager = mxd.MetaxyIOManager(store=store, max_deleted_share=setting)

    def shrink() -> None:
        run(root({0: FOUR[0]}, **metadata), tags=tags, resources={IO_MANAGER: manager})

    if name in ALLOWED:
        shrink()
        assert set(stored(store, "image")) == {0}
        return
    with pytest.raises(mxd.DeletionRefusedError, match="3 of 4") as caught:
        shrink()
    assert isinstance(caught.value, mxd.FrameError)
    assert (caught.value.asset, caught.value.feature) == ("image", "image")
    for place in (f'run tag "{KEY}"', f'metadata "{KEY}"', "MetaxyIOManager(", '"metaxy/write"'):
        assert place in str(caught.value.remedy)
    assert stored(store, "image") == FOUR


@pytest.mark.usefixtures("filled")
def test_a_replace_of_all_samples_is_guarded_where_its_upstream_is_an_argument(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore
) -> None:
    image = root(FOUR)
    made = [4]

    @dg.asset(**feature("thumb", **{KEY: 0.25}))
    def thumb(image: pa.Table) -> pa.Table:
        return image.slice(0, made[0]).select(["id"])

    for made[0] in (4, 3):
        run(image, thumb)
    made[0] = 1
    with pytest.raises(mxd.DeletionRefusedError, match="2 of 3"):
        run(image, thumb)
    run(image, thumb, tags={KEY: "1"})
    assert len(stored(store, "thumb")) == 1


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_what_is_no_share_is_refused_everywhere(
    run: Callable[..., Any], store: mxd.DuckDBMetadataStore, value: Any
) -> None:
    with pytest.raises(mxd.RunError, match=KEY) as caught:
        run(root(FOUR, **{KEY: value}))
    assert "between 0 and 1" in str(caught.value)
    with pytest.raises(mxd.RunError, match="run's tag") as caught:
        run(root(FOUR), tags={KEY: str(value)})
    assert caught.value.asset == "image"
    with pytest.raises(mxd.StoreError, match="max_deleted_share") as refused:
        store.write("image", images(FOUR), mode="replace", max_deleted_share=value)
    assert "between 0 and 1" in str(refused.value)
    with pytest.raises(ValueError, match="max_deleted_share"):
        mxd.MetaxyIOManager(store=store, max_deleted_share=value)
    with pytest.raises(mxd.DefinitionsError, match="max_deleted_share"):
        mxd.MetaxifySettings(max_deleted_share=value)
    assert store.features() == []


def test_the_setting_of_the_pass_reaches_the_io_manager_that_it_adds(
    store: mxd.DuckDBMetadataStore, instance: dg.DagsterInstance
) -> None:
    rows = dict(FOUR)

    @dg.asset(metadata={"metaxy/feature": "image", "metaxy/id_columns": ["id"]})
    def image() -> pa.Table:
        return images(rows)

    defs = mxd.metaxify_definitions(
        dg.Definitions([image]),
        store=store,
        settings=mxd.MetaxifySettings(max_deleted_share=0.75),
    )
    job = defs.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance)
    for gone in (1, 2, 3):
        del rows[gone]
    job.execute_in_process(instance=instance)
    assert set(stored(store, "image")) == {0}
