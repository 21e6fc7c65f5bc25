"""``init``: the configuration, and the modules that declare features."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import metaxy_dagster as mxd

FEATURES = """
import metaxy_dagster as mxd

class Base(mxd.BaseFeature, spec=None):
    clip: str

class Clip(Base, spec=mxd.FeatureSpec("clip", id_columns=["clip"])):
    seconds: float
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with features, and the folder of its configuration."""
    package = tmp_path / "speech_of_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "features.py").write_text(FEATURES)
    (package / "broken.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METAXY_CONFIG", raising=False)
    with mxd.FeatureGraph().use():
        yield tmp_path
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def configure(folder: Path, *entrypoints: str) -> Path:
    path = folder / "metaxy.toml"
    path.write_text(f'project = "speech"\nentrypoints = {list(entrypoints)}\n')
    return path


def test_features_of_the_entry_points_are_known(project: Path) -> None:
    configure(project, "speech_of_test.features")
    for _ in range(2):
        config = mxd.init()
        assert (config.project, config.entrypoints) == ("speech", ("speech_of_test.features",))
        assert list(map(str, mxd.FeatureGraph.current())) == ["clip"]


def test_a_module_that_is_loaded_already_counts_on_another_graph_too(project: Path) -> None:
    path = configure(project, "speech_of_test.features")
    mxd.init(path)
    with mxd.FeatureGraph().use() as graph:
        mxd.init(mxd.load_config(path))
        assert graph.feature_class("clip") is not None


def test_without_a_configuration_there_is_nothing_to_load(project: Path) -> None:
    assert mxd.init() == mxd.MetaxyConfig()
    assert len(mxd.FeatureGraph.current()) == 0


@pytest.mark.parametrize(
    "name", ["speech_of_test.feature", "speech_of_tests", "no.such.module", "speech_of_test.x.y"]
)
def test_an_entry_point_that_is_no_module(project: Path, name: str) -> None:
    configure(project, name)
    with pytest.raises(mxd.ConfigError, match="entrypoints") as caught:
        mxd.init()
    assert caught.value.found == name
    assert "metaxy.toml" in str(caught.value)


def test_what_a_module_raises_comes_as_it_is(project: Path) -> None:
    configure(project, "speech_of_test.broken")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        mxd.init()


def test_entry_points_are_names(project: Path) -> None:
    (project / "metaxy.toml").write_text("entrypoints = [3]\n")
    with pytest.raises(mxd.ConfigError, match=r"entrypoints\.0"):
        mxd.init()
