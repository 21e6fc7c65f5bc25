"""Assets whose functions fail on some samples, in all the forms that a function may have."""

# Annotations are not postponed here: Dagster reads those of the arguments when an asset is made.

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

import metaxy_dagster as mxd

IDS = list(range(1, 13))
FORMS = ("plain", "arrow", "lazy", "waiting", "two inputs", "group", "children")


class TornError(Exception):
    """What a function makes of a sample that it cannot read."""


def graph() -> mxd.FeatureGraph:
    made = mxd.FeatureGraph()
    made.add(mxd.FeatureSpec("image", id_columns=["id"]))
    made.add(mxd.FeatureSpec("label", id_columns=["id"]))
    made.add(mxd.FeatureSpec("thumb", id_columns=["id"], deps=["image"]))
    label = mxd.FeatureDep("label", select=("word",))
    made.add(mxd.FeatureSpec("captioned", id_columns=["id"], deps=["image", label]))
    album = mxd.FeatureDep("image", lineage=mxd.LineageRelationship.aggregation(on=["album"]))
    made.add(mxd.FeatureSpec("cover", id_columns=["album"], deps=[album]))
    parent = mxd.FeatureDep("image", lineage=mxd.LineageRelationship.expansion())
    made.add(mxd.FeatureSpec("face", id_columns=["id", "n"], deps=[parent]))
    return made


class World:
    """Two root assets, an asset that may fail on some samples, and runs of it after the pass."""

    def __init__(self, path: Path, instance: dg.DagsterInstance, form: str = "plain") -> None:
        self.path, self.instance, self.form = path, instance, form
        self.ids = list(IDS)
        self.bad: set[int] = set()
        self.calls: list[list[int]] = []
        self.error: Callable[[set[int]], BaseException] = lambda ids: TornError(f"torn {min(ids)}")
        # What the function does beside.
        self.before: Callable[[pl.DataFrame], None] = lambda _: None
        # What it returns no row of.
        self.left_out: set[int] = set()
        self.key = {
            "two inputs": "captioned",
            "group": "cover",
            "children": "face",
        }.get(form, "thumb")
        self.store = mxd.DuckDBMetadataStore(path / "m.duckdb", graph=graph())
        self.messages: list[str] = []

    def called(self, frame: pl.DataFrame) -> pl.DataFrame:
        ids = set(frame["id"].to_list())
        self.calls.append(sorted(ids))
        self.before(frame)
        if self.bad & ids:
            raise self.error(self.bad & ids)
        return frame.filter(~pl.col("id").is_in(sorted(self.left_out)))

    def function(self) -> Callable[..., Any]:
        def plain(image: pl.DataFrame) -> pl.DataFrame:
            return self.called(image).select("id", thumb=pl.col("size") * 2)

        def arrow(image: pa.Table):
            frame = pl.DataFrame(pl.from_arrow(image))
            return self.called(frame).select("id", thumb=pl.col("size") * 2).to_arrow()

        def lazy(image: pl.LazyFrame) -> pl.LazyFrame:
            schema = {"id": pl.Int64, "thumb": pl.Int64}
            return image.map_batches(
                lambda f: self.called(f).select("id", thumb=pl.col("size") * 2), schema=schema
            )

        async def waiting(image: pl.DataFrame) -> pl.DataFrame:
            await asyncio.sleep(0)
            return plain(image)

        def two(image: pl.DataFrame, label: pl.DataFrame) -> pl.DataFrame:
            assert sorted(image["id"]) == sorted(label["id"])
            return self.called(image).join(label, on="id").select("id", text="word")

        def group(image: pl.DataFrame) -> pl.DataFrame:
            return self.called(image).group_by("album").agg(first=pl.col("id").min())

        def children(image: pl.DataFrame) -> pl.DataFrame:
            made = self.called(image).select("id", n=pl.int_ranges(0, 2), size="size")
            return made.explode("n")

        by_form = {"two inputs": two, "group": group, "children": children}
        by_form |= {"plain": plain, "arrow": arrow, "lazy": lazy, "waiting": waiting}
        return by_form[self.form]

    def definitions(self, keys: dict[str, Any], **options: Any) -> dg.Definitions:
        @dg.asset(metadata={"metaxy/feature": "image"})
        def image() -> pl.DataFrame:
            columns = {"id": self.ids, "size": self.ids, "album": [i // 3 for i in self.ids]}
            return pl.DataFrame(columns)

        @dg.asset(metadata={"metaxy/feature": "label"})
        def label() -> pl.DataFrame:
            return pl.DataFrame({"id": self.ids, "word": [str(i) for i in self.ids]})

        metadata = {"metaxy/feature": self.key, "metaxy/input": "increment", **keys}
        made = dg.asset(self.function(), name="made", metadata=metadata, **options)
        return dg.Definitions(assets=[image, label, made])

    def run(
        self, keys: dict[str, Any], *, fails: bool = False, **options: Any
    ) -> dg.ExecuteInProcessResult:
        """Run all of it; the messages of its log are kept."""
        defs = mxd.metaxify_definitions(
            self.definitions(keys, **options), features=self.store.graph, store=self.store.path
        )
        self.calls.clear()
        job = defs.resolve_implicit_global_asset_job_def()
        done = job.execute_in_process(instance=self.instance, raise_on_error=False)
        assert done.success is not fails
        self.messages = [log.user_message for log in self.instance.all_logs(done.run_id)]
        return done

    def stored(self) -> list[int]:
        """The values of the first id column of what is stored."""
        (name, *_) = self.store.graph[self.key].id_columns
        if not self.store.schema(self.key):
            return []
        return sorted(set(self.store.read(self.key).collect()[name].to_list()))

    def failures(self) -> dict[int, tuple[str, int]]:
        """Of each sample that failed: the error, and how often."""
        found = self.store.failures(self.key).collect(backend="polars").to_native()
        name = self.store.graph[self.key].id_columns[0]
        columns = (name, "metaxy_error", "metaxy_attempts")
        return {one: (error, times) for one, error, times in found.select(columns).iter_rows()}

    def said(self, text: str) -> list[str]:
        return [one for one in self.messages if text in one]
