from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import patient

ASSETS = """
raw = dg.AssetSpec("raw", metadata={"metaxy/feature": "raw", "metaxy/id_columns": ["id"]})

@dg.asset(metadata={"metaxy/feature": "made", "metaxy/id_columns": ["id"], "metaxy/deps": ["raw"]})
def made(): ...

@dg.asset
def plain(): ...
"""
PLAIN = ASSETS + "defs = dg.Definitions([raw, made, plain])\n"
CALL = "mxd.metaxify_definitions(dg.Definitions([raw, made, plain]), features=[])"
BY_FUNCTION = ASSETS + f"defs = {CALL}\n"
BY_DECORATOR_ABOVE = f"""{ASSETS}
@mxd.metaxify_definitions(features=[])
@dg.definitions
def defs():
    return dg.Definitions([raw, made, plain])
"""
BY_DECORATOR_BELOW = f"""{ASSETS}
@dg.definitions
@mxd.metaxify_definitions(features=[])
def defs():
    return dg.Definitions([raw, made, plain])
"""
TWICE = ASSETS + f"defs = mxd.metaxify_definitions({CALL}, features=[])\n"
MERGED = f"""{ASSETS}
other = mxd.metaxify_definitions(dg.Definitions([raw, made]), features=[])
everything = dg.Definitions.merge(other, dg.Definitions([plain]))
del other
"""
FAULTY = """
a = dg.AssetSpec("a", metadata={"metaxy/feature": "no good"})
b = dg.AssetSpec("b", metadata={"metaxy/feature": "b", "metaxy/id_columns": []})
defs = mxd.metaxify_definitions(dg.Definitions([a, b]), features=[])
"""


def changes(out: str) -> dict[str, list[str]]:
    plan = json.loads(out)
    return {asset["key"]: [each["what"] for each in asset["changes"]] for asset in plan["assets"]}


@pytest.mark.parametrize(
    "code",
    [PLAIN, BY_FUNCTION, BY_DECORATOR_ABOVE, BY_DECORATOR_BELOW, TWICE, MERGED],
    ids=["plain", "function", "above", "below", "twice", "merged"],
)
def test_the_plan_is_shown_however_the_pass_is_called(code: str, repo, run) -> None:
    done = run("plan", "-f", repo(code), "--format", "json")
    assert done.code == 0
    found = changes(done.out)
    assert list(found) == ["raw", "made"]
    assert "dep" in found["made"]
    assert "made" not in json.loads(done.out)["left_alone"]
    assert ("does not call metaxify_definitions" in done.err) is (code == PLAIN)


def test_an_asset_decorated_on_its_own_is_shown_once(repo, run) -> None:
    code = """
    @mxd.metaxify(feature=mxd.FeatureSpec("video/faces", id_columns=["id"]))
    @dg.asset
    def detect(): ...

    defs = mxd.metaxify_definitions(dg.Definitions([detect]))
    """
    plan = json.loads(run("plan", "-f", repo(code), "--format", "json").out)
    assert [asset["key"] for asset in plan["assets"]][:1] == ["detect"]
    assert plan["assets"][0]["new_key"] == "video/faces"
    assert plan["left_alone"] == []


def test_all_faults_are_printed_with_their_places(repo, run) -> None:
    done = run("plan", "-f", repo(FAULTY))
    assert done.code == 1
    assert "asset 'a'" in done.out
    assert "asset 'b'" in done.out
    assert "2 errors" in done.out
    assert done.out.count("to fix:") == 2


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_faults_of_code_that_does_not_call_the_pass(form: str, repo, run) -> None:
    code = FAULTY.replace("mxd.metaxify_definitions(", "").replace(", features=[])", "")
    done = run("plan", "-f", repo(code), "--format", form)
    assert done.code == 1
    quoted = r"\"" if form == "json" else '"'
    assert f"metaxy/id_columns{quoted} is empty" in done.out
    assert ('"metaxy/id_columns" is empty' in done.err) is (form == "json")


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        ("", [], "holds no Definitions"),
        ("x = dg.Definitions()\ny = dg.Definitions()", [], "holds several Definitions"),
        ("x = dg.Definitions()", ["-a", "y"], "has no attribute 'y'"),
        ("x = 1", ["-a", "x"], "is no Definitions"),
        ("@dg.repository\ndef r(): return []", ["-a", "r"], "repository is made from"),
        ("raise KeyError('door')", [], "KeyError: 'door'"),
        ("def defs(n): ...", ["-a", "defs"], "TypeError"),
        ("import no_such_module_at_all", [], "ModuleNotFoundError"),
    ],
)
def test_code_that_cannot_be_loaded(code: str, arguments: list[str], said: str, repo, run) -> None:
    done = run("plan", "-f", repo(code), *arguments)
    assert done.code == 2
    assert said in done.err
    assert "to fix:" in done.err
    assert done.out == ""


def test_a_traceback_begins_where_the_user_s_code_does(repo, run) -> None:
    path = repo("def deep():\n    raise KeyError('door')\ndeep()")
    lines = [line for line in run("plan", "-f", path).err.splitlines() if "File " in line]
    assert [line.split('"')[1] for line in lines] == [str(path), str(path)]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("plan",),
        ("plan", "-m", "a", "-f", "b"),
        ("plan", "-m", "no_such_module_at_all"),
        ("plan", "-f", "no_such_file.py"),
        ("plan", "-f", "no_such_file.py", "-d", "no_such_directory"),
        ("plan", "-m", "dagster", "--format", "html"),
        ("plan", "-m", "dagster", "--exit-code"),
        ("plan", "-m", "dagster", "--diff", "no_such_plan.json"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], run) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_attributes_are_found(repo, run) -> None:
    code = f"{ASSETS}\nx = dg.Definitions([raw])\ny = x\ndef z(): return dg.Definitions([plain])"
    path = repo(code)
    assert list(changes(run("plan", "-f", path, "--format", "json").out)) == ["raw"]
    made = json.loads(run("plan", "-f", path, "-a", "z", "--format", "json").out)
    assert made["left_alone"] == ["plain"]


def test_a_module_of_assets_alone(repo, run) -> None:
    done = run("plan", "-f", repo("@dg.asset\ndef alone(): ..."), "--format", "json")
    assert json.loads(done.out)["left_alone"] == ["alone"]


def test_forms_for_people(repo, run) -> None:
    path = repo(BY_FUNCTION)
    assert run("plan", "-f", path).out.startswith("metaxify: 2 assets change, 1 left alone")
    assert "| made | made | dep |" in run("plan", "-f", path, "--format", "markdown").out


def test_nothing_is_written_and_no_secret_is_shown(
    repo, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "hunter2")
    code = (
        ASSETS
        + """
class Api(dg.ConfigurableResource):
    token: str
    def create_resource(self, context): return None

defs = mxd.metaxify_definitions(dg.Definitions(
    [raw, made, plain],
    resources={"api": Api(token="hunter2"), "store": Api(token="hunter2")},
))
"""
    )
    path = repo(code)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for form in ("text", "markdown", "json"):
        done = run("plan", "-f", path, "--format", form)
        assert done.code == 0
        assert "hunter2" not in done.out + done.err
    assert [each for each in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(each)] == [
        each for each in before if "__pycache__" not in str(each)
    ]


def test_colours_on_a_terminal_do_not_change_the_words(
    repo, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    path = repo(BY_FUNCTION)
    plain = run("plan", "-f", path).out
    sys.modules.pop(path.stem)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert run("plan", "-f", path).out == plain


PROCESSES = {
    "module": [sys.executable, "-m", "metaxy_dagster"],
    "script": [str(Path(sys.executable).parent / "metaxy-dagster")],
}


@pytest.mark.parametrize("way", PROCESSES)
def test_in_a_process_of_its_own(way: str, repo: Callable[..., Path]) -> None:
    path = repo(FAULTY)
    command = [*PROCESSES[way], "plan", "-m", path.stem, "-d", str(path.parent)]
    done = subprocess.run(  # noqa: S603 (our own command)
        command, capture_output=True, text=True, timeout=patient(120), check=False
    )
    assert done.returncode == 1
    assert done.stdout.count("to fix:") == 2


# ---------------------------------------------------------------------------------- other settings
STORED = """
class Folder(dg.IOManager):
    def handle_output(self, context, obj): ...
    def load_input(self, context): ...

@dg.asset(metadata={"metaxy/feature": "video/raw", "metaxy/id_columns": ["id"]})
def raw(): ...

@dg.asset(deps=[raw])
def report() -> None: ...

defs = dg.Definitions([raw, report], resources={"io_manager": Folder()})
"""
APPLIED = STORED + "defs = mxd.metaxify_definitions(defs)\n"
DECIDED = STORED + (
    "defs = mxd.metaxify_definitions("
    "defs, asset_keys='keep', settings=mxd.MetaxifySettings(io_routing='keep', checks='all'))\n"
)


@pytest.mark.parametrize("code", [STORED, APPLIED, DECIDED])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--io-routing", "route"), "these go on looking at the IO manager 'io_manager' (Folder)"),
        (("--io-routing", "keep"), "'io_manager' (Folder) stays, wrapped"),
        (("--set", "io_routing=keep"), "'io_manager' (Folder) stays, wrapped"),
        (("--asset-keys", "feature"), "1 assets get another key (raw)"),
        (("--set", 'checks=["pending"]', "--set", "enable_tags=false"), "video/raw"),
        (("--set", "checks=all"), "asset checks added"),
    ],
)
def test_other_settings_are_previewed(code: str, arguments, said: str, repo, run) -> None:
    path = repo(code)
    done = run("plan", "-f", path, *arguments)
    assert done.code == 0
    assert said in done.out
    assert "a preview with" in done.err
    # What the code says is not touched by it.
    assert "a preview" not in run("plan", "-f", path).err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--io-routing", "sideways"),
        ("--asset-keys", "other"),
        ("--set", "checks"),
        ("--set", "nothing=1"),
        ("--set", "checks=none_of_them"),
        ("--set", "max_deleted_share=many"),
    ],
)
def test_settings_that_are_none_cannot_be_previewed(arguments, repo, run) -> None:
    done = run("plan", "-f", repo(STORED), *arguments)
    assert done.code == 2
    assert done.out == ""
    assert "--" in done.err


def test_every_line_is_shown_on_demand(repo, run) -> None:
    code = """
    defs = dg.Definitions(
        [
            dg.AssetSpec(f"x{n}", metadata={"metaxy/feature": f"x{n}", "metaxy/id_columns": ["id"]})
            for n in range(30)
        ]
    )
    """
    path = repo(code)
    assert run("plan", "-f", path).out.count("metaxy/info") == 1
    assert run("plan", "-f", path, "--full").out.count("metaxy/info") == 30
