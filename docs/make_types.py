"""Write the table of docs/types.md anew: what each way of loading makes of each type."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT)]

from round_trips import columns, row, store_at  # noqa: E402 - found by the lines above

BEGIN, END = "<!-- made by docs/make_types.py -->", "<!-- end -->"
HEAD = """| what is written | in the file | polars | pandas | pyarrow, narwhals | DuckDB relation |
|---|---|---|---|---|---|"""


def main() -> None:
    """Replace what stands between the two marks."""
    lines = []
    for column in columns():
        with tempfile.TemporaryDirectory() as directory:
            lines.append(row(column, store_at(Path(directory) / "m.duckdb")))
    document = ROOT / "docs" / "types.md"
    before, _, rest = document.read_text().partition(BEGIN)
    table = "\n".join([BEGIN, HEAD, *lines, END])
    document.write_text(before + table + rest.partition(END)[2])


if __name__ == "__main__":
    main()
