"""Take the pictures in docs/images: the mail room of examples/mailroom in Dagster's web server.

Usage: python docs/make_screenshots.py [PICTURE ...]

A Dagster home in a temporary folder gets ten days of history; a web server on the loopback
interface shows it; a headless Chromium looks at it. All of them end with the script.
``CHROMIUM`` names the browser, where it is not found on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Bounds in seconds: of the history, of the server's start, of one wait for a page.
HISTORY_SECONDS, START_SECONDS, PAGE_SECONDS = 900, 120, 60
LARGEST_BYTES = 300_000
WIDTH, HEIGHT = 1280, 800


def stop(message: str) -> NoReturn:
    """End with a message and exit code 1."""
    sys.exit(f"make_screenshots: {message}")


def find_browser() -> str:
    """The path of a Chromium; ends with what is missing if there is none."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        stop(
            f"no Chromium: {named or ' or '.join(BROWSERS)} was not found. Install it (Debian: "
            "apt-get install chromium), or name it: CHROMIUM=/path/to/chromium make screenshots"
        )
    return found


# ----------------------------------------------------------------------------- what is looked at
def play_history(environment: dict[str, str]) -> None:
    """Ten days of the mail room, in a process of their own."""
    subprocess.run(
        [sys.executable, "-m", "mailroom.history"],
        cwd=ROOT / "examples",
        env=environment,
        check=True,
        timeout=HISTORY_SECONDS,
    )


@contextmanager
def running_server(home: Path, environment: dict[str, str]) -> Iterator[str]:
    """The web server on the mail room; gives its address, and ends it with all its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-m", "mailroom.definitions", "-d", str(ROOT / "examples")]
    with (home / "webserver.log").open("w") as output:
        server = subprocess.Popen(  # noqa: S603 (our own interpreter)
            command,
            cwd=home,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        await_answer(server, address, home / "webserver.log")
        yield address
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=20)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=20)


def await_answer(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until the server has loaded the assets."""
    question = json.dumps({"query": "{ assetNodes { id } }"}).encode()
    headers = {"Content-Type": "application/json"}
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        request = urllib.request.Request(f"{address}/graphql", question, headers)  # noqa: S310
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(request, timeout=5) as answer,  # noqa: S310
        ):
            if json.load(answer)["data"]["assetNodes"]:
                return
        time.sleep(0.5)
    stop(f"the web server does not answer:\n{log.read_text()}")


# ----------------------------------------------------------------------------------- the pictures
def show(page: Page, path: str, *words: str) -> None:
    """Open a page, and wait until it shows these words and nothing is loading any more."""
    page.goto(path)
    for each in words:
        page.get_by_text(each, exact=True).first.wait_for()
    settle(page)


def settle(page: Page) -> None:
    """Wait until no spinner turns and no answer is missing."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => !document.querySelector('[class*=Spinner_]')")
    page.wait_for_function("() => !document.body.innerText.includes('Loading…')")
    page.wait_for_timeout(1500)


def without_navigation(page: Page) -> None:
    """Leave the width to what the picture is of."""
    page.get_by_text("Hide navigation").click()
    page.get_by_text("Hide navigation").wait_for(state="hidden")


def lineage(page: Page) -> dict[str, Any]:
    """All assets, with their groups opened."""
    page.set_viewport_size({"width": 1500, "height": 700})
    show(page, "/asset-groups", "scanner")
    without_navigation(page)
    page.locator("button:has([aria-label=panel_show_right])").first.click()
    page.mouse.click(700, 660, button="right")
    page.get_by_role("menuitem", name="Expand all groups").first.click()
    page.get_by_text("bulletin").first.wait_for()
    settle(page)
    return {}


def upstream(page: Page) -> dict[str, Any]:
    """What one asset is computed from, and how each of them stands."""
    page.set_viewport_size({"width": 1500, "height": 800})
    path = "/assets/verdicts?view=lineage&lineageScope=upstream&lineageDepth=5"
    show(page, path, "scans")
    without_navigation(page)
    show(page, path, "scans", "Latest event")
    return {}


def asset(page: Page) -> dict[str, Any]:
    """One asset: how it stands, what it is, and its columns."""
    show(page, "/assets/readings?view=overview", "Columns", "margin")
    return {}


def columns(page: Page) -> dict[str, Any]:
    """Which columns a column is computed from, as the page of the lineage has it."""
    page.set_viewport_size({"width": WIDTH, "height": 960})
    show(page, "/asset-groups/profiles", "dagster/column_lineage")
    entry = page.locator("tr").filter(has_text="dagster/column_lineage").last
    entry.get_by_text("[Show JSON]").click()
    page.get_by_text("columnDeps").first.wait_for()
    settle(page)
    return {"clip": {"x": 415, "y": 0, "width": WIDTH - 415, "height": 960}}


def plots(page: Page) -> dict[str, Any]:
    """The numbers of ten materializations: those of new to those of stale samples."""
    page.set_viewport_size({"width": WIDTH, "height": 2000})
    show(page, "/assets/readings?view=overview", "Plots")
    page.get_by_role("button", name="Plots").click()
    page.get_by_text("metaxy/unchanged", exact=True).wait_for()
    settle(page)
    top = page.get_by_text("metaxy/new", exact=True).bounding_box()
    bottom = page.get_by_text("metaxy/unchanged", exact=True).bounding_box()
    if top is None or bottom is None:
        stop(f"{page.url} shows no plots")
    y = top["y"] - 16
    return {"clip": {"x": 250, "y": y, "width": 700, "height": bottom["y"] - 10 - y}}


def checks(page: Page) -> dict[str, Any]:
    """The checks of a feature, one of which says that samples are pending."""
    page.set_viewport_size({"width": WIDTH, "height": 850})
    show(page, "/assets/verdicts?view=checks", "pending")
    page.get_by_text("pending", exact=True).first.click()
    page.get_by_text("No sample waits to be computed.").wait_for()
    settle(page)
    return {}


def observation(page: Page) -> dict[str, Any]:
    """What was seen of a feature that is written outside of Dagster."""
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    show(page, "/assets/typed?view=events", "dagster/row_count")
    return {}


def partitions(page: Page) -> dict[str, Any]:
    """A feature by day, and what was written of one day."""
    page.set_viewport_size({"width": WIDTH, "height": 940})
    show(page, "/assets/profiles?view=partitions", "2026-05-16")
    page.get_by_text("2026-05-16", exact=True).first.scroll_into_view_if_needed()
    page.mouse.move(360, 600)
    page.mouse.wheel(0, 400)
    page.get_by_text("2026-05-09", exact=True).first.click()
    page.get_by_text("dagster/partition_row_count", exact=True).wait_for()
    settle(page)
    return {}


PICTURES: dict[str, Callable[[Page], dict[str, Any]]] = {
    each.__name__: each
    for each in (lineage, upstream, asset, columns, plots, checks, observation, partitions)
}


def take(address: str, browser: str, names: list[str]) -> None:
    """Take the pictures of these names, each on a page of its own."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (its absence has a message)

    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=list(FLAGS))
        for name in names:
            size = {"width": WIDTH, "height": HEIGHT}
            context = chromium.new_context(base_url=address, viewport=size, locale="en-GB")
            # Dagster asks newcomers to join its community, once.
            context.add_init_script("localStorage.setItem('communityNux', '1')")
            context.set_default_timeout(PAGE_SECONDS * 1000)
            page = context.new_page()
            options = PICTURES[name](page)
            path = IMAGES / f"{name}.png"
            page.screenshot(path=path, animations="disabled", **options)
            context.close()
            if path.stat().st_size > LARGEST_BYTES:
                stop(f"{path} has {path.stat().st_size:,} bytes, more than {LARGEST_BYTES:,}")
            print(f"wrote {path.relative_to(ROOT)}")
        chromium.close()


def main() -> None:
    """Take the pictures named on the command line, or all."""
    names = sys.argv[1:] or list(PICTURES)
    unknown = [name for name in names if name not in PICTURES]
    if unknown:
        stop(f"no picture is named {', '.join(unknown)}; there are {', '.join(PICTURES)}")
    browser = find_browser()
    try:
        import playwright  # noqa: F401, PLC0415 (only this script needs it)
    except ImportError:
        stop("playwright is not installed: pip install --group docs, or make screenshots")
    with tempfile.TemporaryDirectory(prefix="mailroom-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        (home / "dagster.yaml").touch()
        environment = {
            **os.environ,
            "DAGSTER_HOME": folder,
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "MAILROOM_FOLDER": str(home / "room"),
            "TZ": "UTC",
        }
        play_history(environment)
        with running_server(home, environment) as address:
            take(address, browser, names)


if __name__ == "__main__":
    main()
