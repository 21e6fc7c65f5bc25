"""Where this repository keeps its files."""

import os
from pathlib import Path

import dagster as dg

DEFAULT_FOLDER = str(Path(__file__).parent.parent / "workspace")


class Workspace(dg.ConfigurableResource):
    """A folder with everything that is not in a table: corrections in, reports out."""

    folder: str = os.environ.get("DIGITS_WORKSPACE", DEFAULT_FOLDER)

    @property
    def corrections(self) -> Path:
        """A CSV of pixels that somebody set right: sample_id, row, column, intensity."""
        return Path(self.folder) / "corrections.csv"

    @property
    def report(self) -> Path:
        """The report on the last model."""
        return Path(self.folder) / "report.md"
