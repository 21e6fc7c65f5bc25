"""Random repositories as teams have them, and what they come to when they are computed anew.

A node is an asset (or two of one function). Its rows have an id, a group, a part and a number; the
number follows from those upstream, so that a plain function tells what each output must hold.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

PARTS = ("a", "b")
GROUPS = ("x", "y")
LIBRARIES: dict[str, tuple[type, Callable[[pa.Table], Any]]] = {
    "pandas": (pd.DataFrame, lambda table: table.to_pandas()),
    "polars": (pl.DataFrame, pl.from_arrow),
    "pyarrow": (pa.Table, lambda table: table),
}
SCHEMA = pa.schema([("id", pa.int64()), ("g", pa.string()), ("p", pa.string()), ("v", pa.int64())])
GROUPED = pa.schema([("g", pa.string()), ("p", pa.string()), ("v", pa.int64())])

Rows = dict[Any, dict[str, Any]]
#: The rows of roots, by name and id.
World = dict[str, Rows]


@dataclass(frozen=True)
class Node:
    """An asset.

    Attributes:
        kind: ``root``, ``map``, ``twins``, ``join``, ``total`` or ``files``.
        upstreams: names of others; a twin is named after its pair and its side.
        manager: ``default``, ``own`` or ``warehouse``.
        increment: whether it takes its pending samples alone.
        annotated: whether its parameters say of which library they are.
    """

    name: str
    kind: str
    upstreams: tuple[str, ...] = ()
    library: str = "pandas"
    manager: str = "default"
    increment: bool = True
    annotated: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        return (f"{self.name}_l", f"{self.name}_r") if self.kind == "twins" else (self.name,)


@dataclass(frozen=True)
class Shape:
    """A repository: nodes, upstreams first; and whether it has partitions."""

    nodes: tuple[Node, ...]
    partitioned: bool = False

    def of(self, output: str) -> Node:
        return next(node for node in self.nodes if output in node.outputs)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    some = st.sampled_from
    managers = some(["default", "own", "own", "warehouse", "warehouse"])
    # One library for all, or any for each: what is loaded is what the upstream stored.
    nodes = [
        Node("r0", "root", library=draw(some([*LIBRARIES])), manager=draw(managers)),
        Node("r1", "root", library=draw(some([*LIBRARIES])), manager=draw(managers)),
    ]
    by_id = ["r0", "r1"]
    for number in range(draw(st.integers(1, 4))):
        kind = draw(some(["map", "map", "twins", "join", "total", "files"]))
        count = 2 if kind == "join" else 1
        ups = tuple(draw(st.permutations(by_id))[:count])
        node = Node(
            f"n{number}",
            kind,
            ups,
            draw(some([*LIBRARIES])),
            draw(managers),
            draw(some([True, True, False])) or kind in ("files", "twins"),
            draw(st.booleans()),
        )
        nodes.append(node)
        if kind in ("map", "twins", "join"):
            by_id += node.outputs
    return Shape(tuple(nodes), draw(st.booleans()))


def numbers() -> st.SearchStrategy[Rows]:
    row = st.fixed_dictionaries(
        {"g": st.sampled_from(GROUPS), "p": st.sampled_from(PARTS), "v": st.integers(0, 2)}
    )
    return st.dictionaries(st.integers(0, 5), row, max_size=5).map(
        lambda rows: {
            key: {"id": key, **{name: row[name] for name in ("g", "p", "v")}}
            for key, row in rows.items()
        }
    )


# What each output must hold


def made(node: Node, upstream: list[Rows]) -> list[Rows]:
    """The rows of each output, from those of the upstreams."""
    first = upstream[0]
    if node.kind == "map":
        return [{key: {**row, "v": row["v"] * 3 + 1} for key, row in first.items()}]
    if node.kind == "twins":
        return [
            {key: {**row, "v": row["v"] * 5 + side} for key, row in first.items()}
            for side in range(2)
        ]
    if node.kind == "join":
        both = first.keys() & upstream[1].keys()
        return [{k: {**first[k], "v": first[k]["v"] + 10 * upstream[1][k]["v"]} for k in both}]
    if node.kind == "total":
        groups: Rows = {}
        for row in first.values():
            key = (row["g"], row["p"])
            total = groups.setdefault(key, {"g": key[0], "p": key[1], "v": 0})
            total["v"] += row["v"] + 1
        return [groups]
    return [first]


def expected(shape: Shape, world: World) -> dict[str, Rows]:
    """What all outputs hold when everything is computed anew, part by part where there are any."""
    found: dict[str, Rows] = {}
    for part in PARTS if shape.partitioned else (None,):
        here: dict[str, Rows] = {}
        for node in shape.nodes:
            if node.kind == "root":
                rows = world[node.name]
                here[node.name] = {k: r for k, r in rows.items() if part in (None, r["p"])}
            else:
                outputs = made(node, [here[up] for up in node.upstreams])
                here |= dict(zip(node.outputs, outputs, strict=True))
        for name, rows in here.items():
            found.setdefault(name, {}).update(rows)
    return found


def inputs(shape: Shape, world: World) -> dict[str, dict[Any, Any]]:
    """What each sample of an output comes from, down to the roots."""
    found: dict[str, dict[Any, Any]] = {}
    for node in shape.nodes:
        if node.kind == "root":
            found[node.name] = {key: tuple(row.items()) for key, row in world[node.name].items()}
            continue
        ups = [found[up] for up in node.upstreams]
        if node.kind == "total":
            rows = expected(shape, world)[node.upstreams[0]]
            groups: dict[Any, Any] = {}
            for key in sorted(rows):
                group = (rows[key]["g"], rows[key]["p"])
                groups.setdefault(group, []).append((key, ups[0][key]))
            found[node.name] = groups
            continue
        keys = set(ups[0]).intersection(*ups)
        for output in node.outputs:
            found[output] = {key: tuple(up[key] for up in ups) for key in keys}
    return found


# The repository itself


class Pickles(dg.IOManager):
    """As it was written, a file an asset and partition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, context: Any) -> Path:
        part = context.asset_partition_key if context.has_asset_partitions else "all"
        return self.folder / f"{context.asset_key.path[-1]}-{part}.pickle"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.path(context).write_bytes(pickle.dumps(obj))

    def load_input(self, context: dg.InputContext) -> Any:
        return pickle.loads(self.path(context).read_bytes())  # noqa: S301 - what it wrote


class Warehouse(dg.ConfigurableIOManager):
    """Text that others read, too; it gives pandas, whatever it was given."""

    folder: str

    def path(self, context: Any) -> Path:
        part = context.asset_partition_key if context.has_asset_partitions else "all"
        return Path(self.folder) / f"{context.asset_key.path[-1]}-{part}.csv"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        nw.from_native(obj, eager_only=True).to_pandas().to_csv(self.path(context), index=False)

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        return pd.read_csv(self.path(context))


@dataclass
class Repository:
    """A repository over a folder.

    Attributes:
        world: what its roots read; may change between runs.
        keys: whether its assets have metadata keys.
        computed: which samples its functions were given, by output, since it was last looked at.
        fails: the node whose function raises, after it has begun.
    """

    shape: Shape
    folder: Path
    world: World
    keys: bool = False
    computed: dict[str, list[Any]] = field(default_factory=dict)
    fails: str | None = None

    MANAGERS: ClassVar[Mapping[str, str | None]] = {
        "default": None,
        "own": "own_manager",
        "warehouse": "warehouse",
    }

    def definitions(self) -> dg.Definitions:
        self.folder.mkdir(exist_ok=True, parents=True)
        return dg.Definitions(
            assets=[self._asset(node) for node in self.shape.nodes],
            resources={
                "own_manager": Pickles(self.folder),
                "warehouse": Warehouse(folder=str(self.folder)),
            },
        )

    def stored(self, output: str) -> list[tuple[Any, ...]]:
        """The rows that others read where an output is kept."""
        node, rows = self.shape.of(output), []
        if node.kind == "files":
            rows = [
                tuple(path.read_text().split(","))
                for path in sorted((self.folder / output).glob("*.txt"))
            ]
            return sorted(rows)
        for file in sorted(self.folder.glob(f"{output}-*")):
            found = (
                pickle.loads(file.read_bytes())  # noqa: S301 - what it wrote
                if file.suffix == ".pickle"
                else pd.read_csv(file)
            )
            rows += tuples(rows_of(found))
        return sorted(rows)

    def _asset(self, node: Node) -> Any:
        function = self._function(node)
        function.__name__ = node.name
        if node.annotated:
            for i, upstream in enumerate(node.upstreams):
                up = self.shape.of(upstream)
                # The warehouse gives pandas.
                library = "pandas" if up.manager == "warehouse" else up.library
                function.__annotations__[f"u{i}"] = LIBRARIES[library][0]
        parts = dg.StaticPartitionsDefinition(PARTS) if self.shape.partitioned else None
        ins = {f"u{i}": dg.AssetIn(up) for i, up in enumerate(node.upstreams)}
        manager = self.MANAGERS[node.manager]
        if node.kind == "twins":
            outs = {
                name: dg.AssetOut(
                    metadata=self._metadata(node, name),
                    **({} if manager is None else {"io_manager_key": manager}),
                )
                for name in node.outputs
            }
            return dg.multi_asset(outs=outs, ins=ins, partitions_def=parts)(function)
        return dg.asset(
            name=node.name,
            ins=ins,
            partitions_def=parts,
            metadata=self._metadata(node, node.name),
            io_manager_key=None if node.kind == "files" else manager,
        )(function)

    def _metadata(self, node: Node, output: str) -> dict[str, Any]:
        if not self.keys:
            return {}
        ids = ["id"]
        # What is deleted in one go is not looked at twice here.
        found: dict[str, Any] = {"metaxy/feature": output, "metaxy/max_deleted_share": 1.0}
        if node.kind == "total":
            ids = ["g", "p"]
            lineage = {"type": "aggregation", "on": ids}
            found["metaxy/deps"] = [{"feature": node.upstreams[0], "lineage": lineage}]
        found["metaxy/id_columns"] = ids
        if node.kind != "root" and node.increment:
            found["metaxy/input"] = "increment"
        if self.shape.partitioned:
            found["partition_by"] = "p"
        return found

    def _function(self, node: Node) -> Callable[..., Any]:
        def root(context):
            part = context.partition_key if self.shape.partitioned else None
            rows = self.world[node.name].values()
            return framed(node, [row for row in rows if part in (None, row["p"])])

        def one(u0):
            return self._compute(node, u0)

        def two(u0, u1):
            return self._compute(node, u0, u1)

        def files(u0) -> None:
            self._compute(node, u0)

        return {"root": root, "files": files, "join": two}.get(node.kind, one)

    def _compute(self, node: Node, *frames: Any) -> Any:
        outputs = made(node, [{row["id"]: row for row in rows_of(frame)} for frame in frames])
        for name, rows in zip(node.outputs, outputs, strict=True):
            self.computed.setdefault(name, []).extend(rows)
        if node.kind == "files":
            folder = self.folder / node.name
            folder.mkdir(exist_ok=True)
            for key, row in outputs[0].items():
                (folder / f"{key}.txt").write_text(",".join(map(str, row.values())))
        if self.fails == node.name and outputs[0]:
            raise ValueError("it is out of order today")
        if node.kind == "files":
            return None
        made_of = [framed(node, list(rows.values())) for rows in outputs]
        return tuple(made_of) if node.kind == "twins" else made_of[0]


def framed(node: Node, rows: list[dict[str, Any]]) -> Any:
    """Rows as a frame of a node's library."""
    schema = GROUPED if node.kind == "total" else SCHEMA
    return LIBRARIES[node.library][1](pa.Table.from_pylist(rows, schema=schema))


def rows_of(frame: Any) -> Iterator[dict[str, Any]]:
    """The rows of a frame of any library."""
    found = nw.from_native(frame)
    if isinstance(found, nw.LazyFrame):
        found = found.collect()
    names = [name for name in ("id", "g", "p", "v") if name in found.columns]
    for row in found.select(names).rows(named=True):
        yield {name: value if isinstance(value, str) else int(value) for name, value in row.items()}


def tuples(rows: Any) -> list[tuple[Any, ...]]:
    """Rows that compare, in the order of their columns' names."""
    return sorted(tuple(value for _, value in sorted(row.items())) for row in rows)
