# ruff: noqa: S608 - this module's SQL holds no input but its own constants
"""The rows that every engine is given: made once, kept as Arrow files, read by each process.

A root's provenance is given as a struct of md5 texts. A share of 10% changes ``audio`` in every
tenth sample, 0.1% in every thousandth; a changed file holds the changed rows alone.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from shapes import PER_GROUP, Feature, Shape

__all__ = ["data_file", "make_data", "read_data"]


def data_file(folder: Path, feature: Feature, share: float | None = None) -> Path:
    """The file with a root's rows, or with those that a share of changes touches."""
    return folder / (f"{feature.key}.arrow" if share is None else f"{feature.key}-{share}.arrow")


def make_data(folder: Path, shape: Shape, size: int, share: float | None) -> None:
    """Write the rows of every root, or (with a share) the changed rows of the first one."""
    folder.mkdir(parents=True, exist_ok=True)
    for root in shape.roots if share is None else shape.roots[:1]:
        target = data_file(folder, root, share)
        if target.exists():
            continue
        with duckdb.connect() as connection:
            reader = connection.sql(_sql(shape, root, size, share)).to_arrow_reader(100_000)
            part = target.with_suffix(".part")
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
            part.rename(target)


def read_data(path: Path) -> pa.Table:
    """The rows of a file, in memory."""
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).read_all()


def _period(share: float) -> int:
    return round(1 / share)


def _sql(shape: Shape, root: Feature, size: int, share: float | None) -> str:
    if root.ids == ("video", "clip"):
        ids = f"i // {PER_GROUP} AS video, i % {PER_GROUP} AS clip"
    else:
        ids = f"i AS {root.ids[0]}"
    rows = shape.samples(size) if root.ids == ("video",) else size
    changed = f" WHERE {shape.unit} % {_period(share)} = 0" if share else ""
    salt = {"audio": f"'changed {share} '"} if share else {}
    entries = ", ".join(
        f"{field} := md5({salt.get(field, repr(''))} || '{root.key}/{field}/' || i)"
        for field in root.fields
    )
    return (
        f"SELECT * EXCLUDE (i), '{root.key}/part-' || (i // 1000) || '/' || i || '.mp4'"
        f" AS {root.path}, struct_pack({entries}) AS metaxy_provenance_by_field"
        f" FROM (SELECT i, {ids} FROM range({rows}) rows(i)){changed}"
    )
