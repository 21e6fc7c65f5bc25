"""A legacy repository, step by step: proposed, written, adopted; then a run computes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASSETS = '''"""The shop."""
from pathlib import Path

import dagster as dg
import pandas as pd

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-04")
LOG = Path(__file__).with_name("log")


def computed(name, rows):
    with LOG.open("a") as file:
        file.write(f"{name} {len(rows)}\\n")


@dg.asset
def customers():
    return pd.DataFrame({"customer_id": [1, 2, 3], "name": ["Ann", "Bob", "Cem"]})


@dg.asset(
    partitions_def=DAYS,
    group_name="sales",  # the old group
)
def orders(context) -> pd.DataFrame:
    day = context.partition_key
    ids = [f"{day}-{i}" for i in range(4)]
    return pd.DataFrame({"order_id": ids, "day": day, "price": [1.0, 2.0, 3.0, 4.0]})


@dg.asset(partitions_def=DAYS, metadata={"owner": "sales"})
def taxed(orders: pd.DataFrame) -> pd.DataFrame:
    computed("taxed", orders)
    return orders.assign(price=orders["price"] * 1.2)  # every row for itself


@dg.asset
def segments(customers: pd.DataFrame) -> pd.DataFrame:
    computed("segments", customers)
    return customers.assign(segment=[len(name) for name in customers["name"]])


@dg.asset
def ranked(customers: pd.DataFrame) -> pd.DataFrame:
    return customers.assign(rank=customers["name"].rank())


@dg.asset
def model(segments: pd.DataFrame) -> dict:
    return {"n": len(segments)}


def copy_of(name):
    @dg.asset(name=name)
    def made(customers: pd.DataFrame) -> pd.DataFrame:
        return customers.assign(x=name)

    return made


copies = [copy_of("copy_a"), copy_of("copy_b")]
'''
DEFINITIONS = """import dagster as dg

from shop import assets

defs = dg.Definitions(assets=dg.load_assets_from_modules([assets]))
"""
RUN = """
import dagster as dg
from shop.definitions import defs

instance = dg.DagsterInstance.get()
daily = [dg.AssetKey("orders"), dg.AssetKey("taxed")]
others = [spec.key for spec in defs.resolve_all_asset_specs() if spec.key not in daily]
job = defs.resolve_implicit_job_def_def_for_assets(daily)
for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
    assert job.execute_in_process(
        instance=instance, partition_key=day, asset_selection=daily
    ).success
assert defs.resolve_implicit_job_def_def_for_assets(others).execute_in_process(
    instance=instance, asset_selection=others
).success
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that was run, before anybody heard of features."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    code = tmp_path / "code"
    (code / "shop").mkdir(parents=True)
    (code / "shop" / "__init__.py").write_text("")
    (code / "shop" / "assets.py").write_text(ASSETS)
    (code / "shop" / "definitions.py").write_text(DEFINITIONS)
    monkeypatch.chdir(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(code), *sys.path]))
    assert log_of(code) == ["segments 3", "taxed 4", "taxed 4", "taxed 4"]
    return code


def log_of(code: Path) -> list[str]:
    """Run all there is; what was computed."""
    done = subprocess.run(  # noqa: S603 - a script of this test's own
        [sys.executable, "-c", RUN], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    log = code / "shop" / "log"
    found = sorted(log.read_text().splitlines()) if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def command(*arguments: str) -> tuple[int, str]:
    """A command in a process of its own, which loads the code as it is now."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "metaxy_dagster", *arguments, "-m", "shop.definitions"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_first_run_after_a_retrofit_computes_nothing(shop: Path) -> None:
    code, told = command("retrofit", "--format", "json")
    assert code == 0, told
    found = json.loads(told)
    keys = {one["asset"]: one["keys"] for one in found["assets"]}
    both = {"metaxy/id_columns": ["order_id"], "partition_by": "day"}
    assert keys["customers"] == {
        "metaxy/feature": "customers",
        "metaxy/id_columns": ["customer_id"],
    }
    assert keys["orders"] == {"metaxy/feature": "orders", **both}
    assert keys["taxed"] == {"metaxy/feature": "taxed", **both, "metaxy/input": "increment"}
    assert keys["segments"]["metaxy/input"] == "increment"
    # Its function looks across rows.
    assert "metaxy/input" not in keys["ranked"]
    assert keys["model"] == {}
    (model,) = [one for one in found["assets"] if one["asset"] == "model"]
    assert model["why_not"] == "what it returns is no frame, but dict"
    (by_hand,) = found["by_hand"]
    assert by_hand.startswith("copy_a, copy_b: one function makes them all, assets.py:")
    # Nothing was written; the text shows the same patch.
    assert (shop / "shop" / "assets.py").read_text() == ASSETS
    code, told = command("retrofit")
    assert (code, found["patch"] in told) == (0, True)
    assert "+defs = mxd.metaxify_definitions(defs)" in told
    assert "confirm: each of its rows is computed from its own upstream rows alone" in told
    assert "nothing was written; --write does" in told

    code, told = command("retrofit", "--write")
    assert (code, "written; the plan of the code as it is now" in told) == (0, True)
    assert "0 errors" in told
    assert "# every row for itself" in (shop / "shop" / "assets.py").read_text()
    code, told = command("adopt", "--all")
    assert (code, told.count("adopted")) == (0, 9), told
    assert log_of(shop) == []
    # What has keys is left alone from now on, and what takes none is told still.
    code, told = command("retrofit", "customers")
    assert code == 1
    assert "customers: it is a feature already" in told


def test_new_data_is_computed_alone(shop: Path) -> None:
    assert command("retrofit", "customers", "segments", "--write")[0] == 0
    assert command("adopt", "--all")[0] == 0
    file = shop / "shop" / "assets.py"
    file.write_text(
        file.read_text().replace('[1, 2, 3], "name": [', '[1, 2, 3, 4], "name": ["Dan", ')
    )
    # Three of four have other names than before.
    assert "segments 4" in log_of(shop)
    file.write_text(file.read_text().replace('"Cem"', '"Eve"'))
    assert "segments 1" in log_of(shop)


OWN = """
@dg.asset
def videos():
    return pd.DataFrame({"video_id": [1, 2, 3]})

@dg.asset
def users():
    return pd.DataFrame({"user_id": [1, 2, 3]})

@dg.asset
def faces(videos) -> None:
    print("wrote", len(videos))

@dg.asset
def both(videos, users) -> None: ...

@dg.asset
def lonely() -> None: ...

@dg.asset
def empty():
    return pd.DataFrame({"id": []})

@dg.asset
def alike():
    return pd.DataFrame({"id": [1, 1]})

defs = dg.Definitions(assets=[videos, users, faces, both, lonely, empty, alike])
"""


@pytest.fixture
def own(tmp_path: Path, repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    file = repo("import pandas as pd\n" + OWN)
    script = (
        "import dagster as dg, runpy\n"
        f"defs = runpy.run_path({str(file)!r})['defs']\n"
        "job = defs.resolve_implicit_global_asset_job_def()\n"
        "assert job.execute_in_process(instance=dg.DagsterInstance.get()).success\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300, capture_output=True)  # noqa: S603 - ours
    return file


def test_what_writes_itself_has_the_samples_of_its_upstream(own: Path, run) -> None:
    done = run("retrofit", "-f", own, "-d", own.parent, "--format", "json")
    assert done.code == 0
    found = {one["asset"]: one for one in json.loads(done.out)["assets"]}
    assert found["faces"]["keys"] == {
        "metaxy/feature": "faces",
        "metaxy/id_columns": ["video_id"],
        "metaxy/input": "increment",
    }
    why = {name: one["why_not"] for name, one in found.items() if one["why_not"]}
    assert why == {
        "both": "it returns nothing, and its upstreams are identified by different columns",
        "lonely": "it returns nothing, and nothing upstream tells what its samples are",
        "empty": "its output has no rows",
        "alike": "no three columns tell its 2 rows apart",
    }


def test_what_writes_itself_is_adopted_when_it_is_said_to_be_written(own: Path, run) -> None:
    assert run("retrofit", "videos", "faces", "-f", own, "-d", own.parent, "--write").code == 0
    sys.modules.pop(own.stem)
    asked = run("adopt", "--all", "-f", own)
    assert asked.code == 1
    assert "faces: asset faces\n    not adopted: it writes its data itself" in asked.out
    done = run("adopt", "faces", "--written", "-f", own)
    assert (done.code, "3 of 3 rows adopted" in done.out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["vidoes"], "name 'videos'"), (["nothing_like_it"], "correct the name")],
)
def test_assets_that_are_not_there(own: Path, run, arguments: list[str], says: str) -> None:
    done = run("retrofit", *arguments, "-f", own, "-d", own.parent)
    assert done.code == 2
    assert says in done.err


def test_code_elsewhere_is_left_alone(own: Path, run, tmp_path: Path) -> None:
    before = own.read_text()
    other = tmp_path / "other"
    other.mkdir()
    done = run("retrofit", "videos", "-f", own, "-d", other, "--write")
    assert (done.code, own.read_text()) == (0, before)
    assert "videos: its code is outside of other" in done.out


def test_libcst_is_asked_for(own: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "libcst" else find(name)
    )
    done = run("retrofit", "-f", own)
    assert done.code == 2
    assert "pip install 'metaxy-dagster[retrofit]'" in done.err
