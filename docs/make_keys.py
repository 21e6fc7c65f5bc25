"""Write what the documentation says of the metadata keys anew, from the model that reads them."""

from __future__ import annotations

import json
from pathlib import Path

from metaxy_dagster.keys import reference

ROOT = Path(__file__).parents[1]


def made() -> dict[Path, str]:
    """The files, and what is to stand in them."""
    readme = ROOT / "README.md"
    before, heading, rest = readme.read_text().partition("## Metadata keys\n\n")
    _, blank, after = rest.partition("\n\n")
    return {
        readme: before + heading + reference.table().rstrip("\n") + blank + after,
        ROOT / "docs" / "metadata-keys.md": reference.page(),
        ROOT / "docs" / "metadata-keys.schema.json": json.dumps(
            reference.json_schema(), indent=2, ensure_ascii=False
        )
        + "\n",
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
