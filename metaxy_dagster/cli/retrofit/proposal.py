"""What keys an asset of an old repository should get, and what speaks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg
import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.cli.outputs import functions_behind, outputs_of, writes_itself
from metaxy_dagster.cli.retrofit.id_columns import has_ids, id_columns_of
from metaxy_dagster.cli.retrofit.partition_columns import partition_columns
from metaxy_dagster.cli.retrofit.places import Place, place_of
from metaxy_dagster.cli.retrofit.relation import Upstream, related
from metaxy_dagster.definitions import _compat
from metaxy_dagster.errors import FrameError
from metaxy_dagster.stores.frames.rows import to_arrow

if TYPE_CHECKING:
    from metaxy_dagster.definitions.repository.collect import Asset

__all__ = ["Proposal", "Proposer"]

# So many partitions of an asset are looked at.
_PARTITIONS: Final = 3
# Fewer rows tell little of what identifies them.
_FEW: Final = 3
#: What looks beyond a row, in functions of the frame libraries and of machine learning.
_ACROSS_ROWS: Final = frozenset(
    """
    agg aggregate corr cumcount cumsum cum_sum describe diff drop_duplicates ewm fit
    fit_transform group_by groupby head is_duplicated kurtosis max mean median min mode
    nlargest normalize nsmallest nunique n_unique over partition_by pct_change pivot
    pivot_table qcut quantile rank resample rolling sample shift skew sort sort_values
    std sum tail train_test_split unique value_counts var zscore
    """.split()  # noqa: SIM905 - forty lines as a list
)


@dataclass(frozen=True)
class Proposal:
    """What is proposed for one asset.

    Attributes:
        asset: its key.
        keys: the metadata to add; none if nothing can be proposed.
        place: where it is to be added; or why it has to be added by hand.
        because: what speaks for the keys.
        confirm: what only somebody who knows the code can tell.
        why_not: why nothing is proposed.
    """

    asset: str
    keys: Mapping[str, object] = field(default_factory=dict)
    place: Place | str = ""
    because: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    why_not: str | None = None


@dataclass
class _Draft:
    """A proposal in the making.

    Attributes:
        ids: the id columns.
        columns: all that are known.
        keys: what is to be said beside the feature and its ids.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    keys: dict[str, object] = field(default_factory=dict)
    because: list[str] = field(default_factory=list)
    confirm: list[str] = field(default_factory=list)


class Proposer:
    """Proposes keys for one asset after the other, upstreams first.

    Args:
        defs: the repository's definitions, without keys.
        known: the assets that are features already, as upstreams.
        directory: code below it may be changed.
    """

    def __init__(
        self,
        defs: dg.Definitions,
        known: Mapping[dg.AssetKey, Upstream],
        directory: Path,
    ) -> None:
        self._defs = defs
        self._upstreams = dict(known)
        self._directory = directory

    def propose(self, asset: Asset) -> Proposal:
        """The keys for an asset, from its outputs and from what was proposed for its deps."""
        place = place_of(asset.unit, self._directory)
        deps = [dep.asset_key for dep in asset.spec.deps]
        upstreams = [self._upstreams[key] for key in deps if key in self._upstreams]
        if not asset.unit.materializable:
            return Proposal(asset.name, why_not="no function of this repository computes it")
        if writes_itself(asset.unit):
            found = self._of_own_writer(upstreams)
        else:
            found = self._of_outputs(asset, upstreams)
        if isinstance(found, str):
            return Proposal(asset.name, why_not=found)
        feature = "/".join(asset.key.path)
        self._upstreams[asset.key] = Upstream(feature, found.ids, found.columns)
        keys = {c.KEY_FEATURE: feature, c.KEY_ID_COLUMNS: list(found.ids), **found.keys}
        return Proposal(asset.name, keys, place, tuple(found.because), tuple(found.confirm))

    def _of_own_writer(self, upstreams: Sequence[Upstream]) -> _Draft | str:
        if not upstreams:
            return "it returns nothing, and nothing upstream tells what its samples are"
        finest = max(upstreams, key=lambda one: len(one.ids))
        if any(not set(one.ids) <= set(finest.ids) for one in upstreams):
            return "it returns nothing, and its upstreams are identified by different columns"
        told = f"it returns nothing: its samples are taken for those of {finest.feature}"
        confirm = (
            f"one of its results stands for each ({', '.join(finest.ids)}) of {finest.feature}, "
            "and is written anew from its own upstream rows alone"
        )
        increment: dict[str, object] = {c.KEY_INPUT: c.INPUT_INCREMENT}
        return _Draft(finest.ids, finest.ids, increment, [told], [confirm])

    def _of_outputs(self, asset: Asset, upstreams: Sequence[Upstream]) -> _Draft | str:
        tables = self._tables(asset)
        if isinstance(tables, str):
            return tables
        whole = pa.concat_tables(tables.values(), promote_options="permissive")
        preferred = [one.ids for one in upstreams]
        preferred.append(tuple(dict.fromkeys(name for one in upstreams for name in one.ids)))
        ids = id_columns_of(whole, asset.key.path[-1], preferred)
        if ids is None:
            return f"no three columns tell its {whole.num_rows:,} rows apart"
        deps = related(ids, upstreams)
        if isinstance(deps, str):
            return deps
        draft = _Draft(ids, tuple(whole.column_names))
        draft.because.append(f"{', '.join(ids)}: {_told(whole, tables)}")
        draft.confirm += _doubts(ids, whole)
        if deps:
            draft.keys[c.KEY_DEPS] = deps
            draft.because.append("the lineage follows from the columns that both sides have")
        if asset.spec.partitions_def is not None:
            column = partition_columns(asset.spec.partitions_def, tables)
            if column is None:
                return "no column holds the partition that a row belongs to"
            draft.keys[c.KEY_PARTITION_BY] = column
            draft.because.append(f"the partition is in {column!r}")
        if upstreams and asset.unit.arguments:
            _increment(asset, draft, grouped=bool(deps))
        return draft

    def _tables(self, asset: Asset) -> dict[str, pa.Table] | str:
        """The rows that exist, by partition; or why there are none."""
        tables: dict[str, pa.Table] = {}
        why_not = "nothing was materialized"
        for found in outputs_of(self._defs, asset.key, newest=_PARTITIONS):
            if found.why_not is not None:
                why_not = found.why_not
                continue
            try:
                tables[found.partition or ""] = to_arrow(found.frame, asset.name)
            except FrameError:
                return f"what it returns is no frame, but {type(found.frame).__name__}"
        if not tables:
            return why_not
        if not any(table.num_rows for table in tables.values()):
            return "its output has no rows"
        return {key: table for key, table in tables.items() if table.num_rows}


def _increment(asset: Asset, draft: _Draft, *, grouped: bool) -> None:
    """Whether the function may be given its pending samples alone."""
    functions = functions_behind(asset.unit)
    words = {word for each in functions for word in _compat.words_of(each)}
    found = sorted(words & _ACROSS_ROWS)
    if found and not grouped:
        draft.because.append(
            f"it is given all rows: its function uses {', '.join(found)}, so its rows may "
            "depend on each other"
        )
        return
    draft.keys[c.KEY_INPUT] = c.INPUT_INCREMENT
    draft.confirm.append(
        "each of its rows is computed from its own upstream rows alone"
        + (", group by group" if grouped else "")
        + f'; else remove "{c.KEY_INPUT}"'
    )


def _told(whole: pa.Table, tables: Mapping[str, pa.Table]) -> str:
    where = f" in {len(tables)} partitions" if len(tables) > 1 else ""
    return f"{whole.num_rows:,} rows{where}, no two alike"


def _doubts(ids: Sequence[str], whole: pa.Table) -> Iterator[str]:
    if whole.num_rows < _FEW:
        yield f"{', '.join(ids)} identifies a row: {whole.num_rows} are too few to tell"
    others = [
        name
        for name in whole.column_names
        if len(ids) == 1 and name not in ids and name.endswith("id") and has_ids(whole, [name])
    ]
    if others:
        yield f"{', '.join(ids)} identifies a row; {', '.join(others)} would do, too"
