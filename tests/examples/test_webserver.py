"""The retrofitted example in Dagster's web server, seen through its GraphQL API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from patience import patient
from places import ROOT

EXAMPLES = ROOT / "examples"
START_SECONDS = patient(120)
CODE_SERVERS = f"code_servers:\n  local_startup_timeout: {int(patient(180))}\n"

QUERY = """
{
  assetNodes {
    assetKey { path }
    dependencyKeys { path }
    description
    kinds
    groupName
    opVersion
    tags { key value }
    metadataEntries { ...Entry }
    assetMaterializations(limit: 1) { metadataEntries { ...Entry } }
  }
}
fragment Entry on MetadataEntry {
  label
  __typename
  ... on TextMetadataEntry { text }
  ... on IntMetadataEntry { intValue }
  ... on TableSchemaMetadataEntry { schema { columns { name type } } }
  ... on TableColumnLineageMetadataEntry {
    lineage { columnName columnDeps { assetKey { path } columnName } }
  }
}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(home: Path) -> Iterator[str]:
    """The web server on the example, with this Dagster home; gives its address."""
    port = free_port()
    log = home / "webserver.log"
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-m", "digits.definitions", "-d", str(EXAMPLES)]
    with log.open("w") as output:
        server = subprocess.Popen(  # noqa: S603 (our own interpreter)
            command,
            cwd=home,
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        await_answer(server, address, log)
        yield address
    finally:
        # The server ends its code server on SIGTERM; the process group is for when it cannot.
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=patient(20))
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=patient(20))


def await_answer(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with (
            suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"{address}/server_info", timeout=patient(5)) as answer,  # noqa: S310
        ):
            if answer.status == 200:
                return
        time.sleep(0.25)
    pytest.fail(f"no answer in {START_SECONDS} s: {log.read_text()}")


def ask(address: str, query: str) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 (our own server)
        f"{address}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=patient(60)) as answer:  # noqa: S310
        reply = json.load(answer)
    assert "errors" not in reply, reply["errors"]
    return dict(reply["data"])


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the web server says of every asset, after one finished run."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text(f"telemetry:\n  enabled: false\n{CODE_SERVERS}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("DIGITS_WORKSPACE", str(home / "workspace"))
        run_the_job()
        with running_server(home) as address:
            nodes = ask(address, QUERY)["assetNodes"]
    return {"/".join(node["assetKey"]["path"]): node for node in nodes}


def run_the_job() -> None:
    """In a process of its own, as the package reads its environment when it is imported."""
    program = (
        "import dagster as dg\n"
        "from digits.definitions import defs\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    defs.resolve_job_def('refresh').execute_in_process(instance=instance)\n"
    )
    subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", program],
        cwd=EXAMPLES,
        check=True,
        capture_output=True,
        timeout=patient(120),
    )


def metadata(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["label"]: entry for entry in entries}


def latest(node: dict[str, Any]) -> dict[str, Any]:
    return metadata(node["assetMaterializations"][0]["metadataEntries"])


FEATURES = ["digits", "embeddings", "image_features", "label_onehot", "prototypes", "strokes"]


def test_every_asset_is_there_once(assets: dict[str, dict[str, Any]]) -> None:
    assert sorted(assets) == sorted([*FEATURES, "model", "report"])


def test_lineage_is_that_of_the_legacy_repository(assets: dict[str, dict[str, Any]]) -> None:
    lineage = {
        key: sorted("/".join(dep["path"]) for dep in node["dependencyKeys"])
        for key, node in assets.items()
    }
    assert lineage == {
        "digits": [],
        "image_features": ["digits"],
        "embeddings": ["image_features"],
        "strokes": ["image_features"],
        "label_onehot": ["digits"],
        "prototypes": ["digits"],
        "model": ["embeddings", "image_features", "label_onehot"],
        "report": ["model", "prototypes", "strokes"],
    }


@pytest.mark.parametrize("key", FEATURES)
def test_descriptions_are_the_users(assets: dict[str, dict[str, Any]], key: str) -> None:
    assert assets[key]["description"] == legacy_spec(key).description


@pytest.mark.parametrize("key", FEATURES)
def test_kinds_are_the_users_and_ours(assets: dict[str, dict[str, Any]], key: str) -> None:
    assert set(assets[key]["kinds"]) == legacy_spec(key).kinds | {"metaxy"}


@pytest.mark.parametrize("key", FEATURES)
def test_code_versions_are_there(assets: dict[str, dict[str, Any]], key: str) -> None:
    assert assets[key]["opVersion"]


@pytest.mark.parametrize("key", FEATURES)
def test_features_are_named_by_a_tag(assets: dict[str, dict[str, Any]], key: str) -> None:
    assert "metaxy/feature" in {tag["key"] for tag in assets[key]["tags"]}


@pytest.mark.parametrize(
    ("key", "rows"), [(k, 10 if k == "prototypes" else 1797) for k in FEATURES]
)
def test_row_counts_are_there(assets: dict[str, dict[str, Any]], key: str, rows: int) -> None:
    assert latest(assets[key])["dagster/row_count"]["intValue"] == rows
    assert latest(assets[key])["metaxy/new"]["intValue"] == rows


@pytest.mark.parametrize(
    ("key", "columns"),
    [
        ("digits", {"sample_id", "pixels", "label"}),
        ("image_features", {"sample_id", "ink", "slant", "gradients"}),
        ("embeddings", {"sample_id", "embedding"}),
        ("prototypes", {"label", "images", "prototype"}),
    ],
)
def test_column_schemas_are_there(
    assets: dict[str, dict[str, Any]], key: str, columns: set[str]
) -> None:
    schema = latest(assets[key])["dagster/column_schema"]["schema"]
    assert columns <= {column["name"] for column in schema["columns"]}


@pytest.mark.parametrize(
    ("key", "column", "upstream"),
    [
        ("image_features", "sample_id", ("digits", "sample_id")),
        ("embeddings", "sample_id", ("image_features", "sample_id")),
        ("prototypes", "label", ("digits", "label")),
    ],
)
def test_column_lineage_is_there(
    assets: dict[str, dict[str, Any]], key: str, column: str, upstream: tuple[str, str]
) -> None:
    entries = metadata(assets[key]["metadataEntries"]) | latest(assets[key])
    lineage = {
        entry["columnName"]: [
            ("/".join(dep["assetKey"]["path"]), dep["columnName"]) for dep in entry["columnDeps"]
        ]
        for entry in entries["dagster/column_lineage"]["lineage"]
    }
    assert upstream in lineage[column]


def legacy_spec(key: str) -> dg.AssetSpec:
    from digits_legacy.definitions import defs  # noqa: PLC0415 (only these tests need it)

    return defs.get_assets_def(key).get_asset_spec(dg.AssetKey(key))
