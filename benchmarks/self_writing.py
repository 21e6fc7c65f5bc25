"""Seconds of a run of ``examples/papers``, before and after, when one paper of a thousand changed.

python benchmarks/self_writing.py --papers 1000 --words 4000
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))


def main() -> None:
    """Measure once, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--papers", type=int, default=1000)
    parser.add_argument("--words", type=int, default=4000)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PAPERS_FOLDER"] = folder
        _measure(Path(folder), options.papers, options.words)


def _measure(folder: Path, papers: int, words: int) -> None:
    from papers.definitions import defs as wrapped  # noqa: PLC0415 - likewise
    from papers_legacy.definitions import defs as legacy  # noqa: PLC0415 - after the folder is known

    chance = random.Random(7)  # noqa: S311 - texts to be counted
    vocabulary = ["".join(chance.choices("abcdefghijklmnop", k=7)) for _ in range(5000)]
    (folder / "inbox").mkdir()

    def write(number: int) -> None:
        text = " ".join(chance.choices(vocabulary, k=words))
        (folder / "inbox" / f"paper-{number:05}.md").write_text(text)

    for number in range(papers):
        write(number)
    print(f"{papers} papers of {words} words; seconds of a whole run of four assets")
    repositories = {"before": legacy, "after": wrapped}
    for name in repositories:
        (folder / name).mkdir()
    instances = {name: dg.DagsterInstance.local_temp(str(folder / name)) for name in repositories}
    for said, changed in (("first run", 0), ("nothing changed", 0), ("one paper changed", 1)):
        for number in range(changed):
            write(number)
        seconds = {}
        for name, defs in repositories.items():
            job = defs.resolve_implicit_global_asset_job_def()
            begin, used = time.perf_counter(), time.process_time()
            job.execute_in_process(instance=instances[name])
            seconds[name] = time.perf_counter() - begin, time.process_time() - used
        told = (f"{name} {wall:.1f} s ({cpu:.1f} s CPU)" for name, (wall, cpu) in seconds.items())
        print(f"{said:>20}: " + ", ".join(told), flush=True)


if __name__ == "__main__":
    main()
