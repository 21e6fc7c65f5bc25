"""The stored side of the comparison: what is known of each sample, and under which provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError, StoreError
from metaxy_dagster.features import FeaturePlan, Filter
from metaxy_dagster.features.columns import fold
from metaxy_dagster.stores.duckdb.file import layout
from metaxy_dagster.stores.duckdb.file.catalog import Catalog
from metaxy_dagster.stores.duckdb.resolve.empties import Marks
from metaxy_dagster.stores.duckdb.resolve.views import UpstreamView
from metaxy_dagster.stores.duckdb.sql.filtering import condition
from metaxy_dagster.stores.duckdb.sql.identifiers import columns, quote
from metaxy_dagster.stores.duckdb.sql.provenance import Values
from metaxy_dagster.stores.duckdb.sql.widening import INTEGERS, family_of
from metaxy_dagster.stores.frames.checks import is_text, spelt_otherwise

__all__ = ["StoredSide"]

# Of values of these types there is more than one text.
_SPELT = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT|FLOAT|DOUBLE|DECIMAL|BOOL|DATE|TIME")
_MOMENT, _FINER_MOMENT = "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"


@dataclass(frozen=True)
class StoredSide:
    """What is known of a feature's samples: rows, and marks of those that yielded nothing.

    Attributes:
        plan: the feature.
        feature_version: a root's stored rows of another one are stale.
        keys: the sample columns.
        catalog: the tables, and the commit as of which they are read.
        views: of the upstreams.
        samples: for a root, the expected samples.
        candidates: a table of samples; others are left out.
        given_versions: whether the samples bring data versions, to be compared too.
        marks: samples that yielded nothing; ``None`` if there are none.
    """

    plan: FeaturePlan
    feature_version: str
    keys: tuple[str, ...]
    catalog: Catalog
    views: Sequence[UpstreamView]
    samples: pa.Table | None = None
    candidates: str | None = None
    marks: Marks | None = None
    given_versions: bool = False

    @property
    def table(self) -> layout.Table | None:
        """The feature's table; ``None`` if no row was ever written."""
        return self.catalog.get(self.plan.key)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of any sample: all that are expected are new."""
        return self.table is None and self.marks is None

    def typed_keys(self) -> str:
        """Expected ids in the type in which they are stored, so that both sides compare alike.

        Raises:
            FrameError: a root's samples name them by text, which may be spelt in other ways, or
                by times with a zone for those without one.
            StoreError: an upstream's are finer than the stored ones.
        """
        types: Mapping[str, str] = {} if self.table is None else self.table.types
        for name in () if self.samples is None else self.keys:
            self._check_spelling(name, types.get(name, "VARCHAR"))
        for name in types.keys() & set(self.keys):
            self._check_finer(name, types[name])
        return ", ".join(
            f"{quote(name)}::{types[name]} AS {quote(name)}"
            if name in types and not self._compare(name, types[name])
            else quote(name)
            for name in self.keys
        )

    def _check_spelling(self, name: str, stored: str) -> None:
        samples = pa.table({name: []}) if self.samples is None else self.samples
        kind = samples.schema.field(name).type
        if pa.types.is_timestamp(kind) and stored.startswith("TIMESTAMP"):
            self._check_zone(name, kind, stored)
        if not is_text(kind) or not _SPELT.match(stored):
            return
        other = spelt_otherwise(samples.column(name))
        if stored not in INTEGERS or other:
            raise FrameError(
                f"the samples name id column {name!r} by text, and it is stored in another type",
                feature=str(self.plan.key),
                found=f"{kind}, for example {other}" if other else kind,
                allowed=stored,
                remedy=f"cast {name!r} before the samples are passed",
            )

    def _check_zone(self, name: str, kind: pa.DataType, stored: str) -> None:
        has_zone = stored in (_MOMENT, _FINER_MOMENT)
        if has_zone is (kind.tz is None):
            raise FrameError(
                f"the samples name id column {name!r} by times with a zone, or without, and it is"
                " stored otherwise",
                feature=str(self.plan.key),
                found=kind,
                allowed=stored,
                remedy=f"give {name!r} a time zone, or take it off, before the samples are passed",
            )

    def _check_finer(self, name: str, stored: str) -> None:
        """Refuse moments that are finer than the stored ones, where DuckDB compares no two types.

        Raises:
            StoreError: with the type that holds both.
        """
        if stored != _MOMENT or _FINER_MOMENT not in self._upstream_types(name):
            return
        raise StoreError(
            f"an upstream has moments in id column {name!r} that the stored type cannot tell apart",
            feature=str(self.plan.key),
            found=f"{_FINER_MOMENT} upstream, {_MOMENT} here",
            allowed="one type on both sides",
            remedy=f"store.alter({str(self.plan.key)!r}, columns={{{name!r}: {_FINER_MOMENT!r}}})",
        )

    def no_keys(self) -> str:
        """The sample columns in the types that a comparison gives them, with no value."""
        types: Mapping[str, str] = {} if self.table is None else self.table.types
        selected = []
        for name in self.keys:
            kinds = [types[name]]
            if self._compare(name, types[name]):
                # As in a join, the widest of them.
                kinds += [kind for kind in self._upstream_types(name) if kind is not None]
            typed = ", ".join(f"NULL::{kind}" for kind in kinds)
            selected.append(f"coalesce({typed}) AS {quote(name)}")
        return ", ".join(selected)

    def _compare(self, name: str, stored: str) -> bool:
        """Whether ids compare as they are: an expected one may exceed the stored type."""
        family = family_of(stored)
        if family is None:
            return False
        if self.plan.is_root:
            given = self.samples
            return given is not None and _family(given.schema.field(name).type) == family
        return {family_of(kind or "") for kind in self._upstream_types(name)} <= {family}

    def _upstream_types(self, name: str) -> list[str | None]:
        """The types that a sample column has in the upstreams; ``None`` for those never written."""
        return [
            None if view.table is None else view.table.types[view.dep.source_columns[name]]
            for view in self.views
            if name in view.dep.join_columns
        ]

    def sql(
        self,
        filters: Sequence[Filter],
        judged: Sequence[Filter],
        stale_when: Sequence[Filter],
        values: Values,
    ) -> str:
        """One row per sample (per parent in an expansion) of which something is known.

        Args:
            filters: only samples for which these hold are looked at.
            judged: the same, of stored columns alone.
            stale_when: stored rows for which these hold count as stale.
            values: receives the literals of both.
        """
        parts = []
        if self.table is not None:
            decidable = self._decidable(filters)
            rows = self._rows(self.table, (*decidable, *judged), stale_when, values)
            if len(decidable) < len(filters) and not judged:
                # Upstream columns that are not stored tell nothing of what is orphaned.
                rows = f"SELECT * REPLACE (FALSE AS metaxy_in_scope) FROM ({rows})"
            parts.append(rows)
        if self.marks is not None:
            parts.append(self._marked(self.marks, parts))
        return " UNION ALL BY NAME ".join(parts)

    def _rows(
        self,
        own: layout.Table,
        filters: Sequence[Filter],
        stale_when: Sequence[Filter],
        values: Values,
    ) -> str:
        names = {name: quote(name) for name in own.columns}
        scope, forced = (
            condition(one, names, values, where=f"feature {str(self.plan.key)!r}", types=own.types)
            for one in (filters, stale_when)
        )
        forced = forced if stale_when else "FALSE"
        if self.plan.is_root:
            current = f"{values.bind(self.feature_version)}::VARCHAR"
            forced = f"({forced} OR {quote(c.COL_FEATURE_VERSION)} IS DISTINCT FROM {current})"
        stored = (*own.columns, c.COL_PROVENANCE, c.COL_DATA_VERSION, c.COL_FEATURE_VERSION)
        rows = self._narrowed(self.catalog.rows(self.plan.key, stored))
        keys, one = columns(self.keys), quote(c.COL_PROVENANCE)
        marked = "" if self.marks is None else ", FALSE AS metaxy_empty"
        if self.given_versions:
            marked += f", {quote(c.COL_DATA_VERSION)} AS metaxy_stored_version"
        if self.keys == self.plan.spec.id_columns:
            return (
                f"SELECT {keys}, {one} AS metaxy_stored,"
                f" {scope} AS metaxy_in_scope, {forced} AS metaxy_forced,"
                f" TRUE AS metaxy_present{marked} FROM ({rows})"
            )
        # A parent whose children were written under different provenances is stale.
        return (
            f"SELECT {keys}, CASE WHEN min({one}) = max({one}) THEN min({one}) END"
            f" AS metaxy_stored, bool_or({scope}) AS metaxy_in_scope,"
            f" bool_or({forced}) AS metaxy_forced, TRUE AS metaxy_present{marked}"
            f" FROM ({rows}) GROUP BY {keys}"
        )

    def _decidable(self, filters: Sequence[Filter]) -> Sequence[Filter]:
        """Those filters that the stored columns can tell of; a root has no others."""
        if self.plan.is_root:
            return filters
        stored = set(map(fold, () if self.table is None else self.table.columns))
        return [one for one in filters if {fold(name) for name in one.columns} <= stored]

    def _marked(self, marks: Marks, rows: Sequence[str]) -> str:
        """Marks; never of a sample that has rows, whoever wrote them."""
        keys = columns(self.keys)
        # Of upstreams that were never written nothing is expected; NULL has this type.
        types = dict.fromkeys(self.keys, "INTEGER") | self.key_types()
        found = self._narrowed(marks.typed(types).of(self.catalog.commit))
        without = "".join(f" ANTI JOIN ({one}) USING ({keys})" for one in rows)
        # Without an upstream that calls for it, a mark says nothing: it is in no scope.
        return (
            f"SELECT {keys}, {quote(c.COL_PROVENANCE)} AS metaxy_stored,"
            " FALSE AS metaxy_in_scope, FALSE AS metaxy_forced,"
            f" TRUE AS metaxy_present, TRUE AS metaxy_empty FROM ({found}){without}"
        )

    def key_types(self) -> dict[str, str]:
        """The types of the sample columns, as far as they are stored anywhere."""
        types: Mapping[str, str] = {} if self.table is None else self.table.types
        kinds = {name: [types.get(name), *self._upstream_types(name)] for name in self.keys}
        known = {name: [one for one in found if one is not None] for name, found in kinds.items()}
        return {name: found[0] for name, found in known.items() if found}

    def _narrowed(self, rows: str) -> str:
        if self.candidates is None:
            return rows
        return f"SELECT * FROM ({rows}) SEMI JOIN {self.candidates} USING ({columns(self.keys)})"


def _family(kind: pa.DataType) -> str | None:
    """As :func:`family_of`, of samples that are given."""
    is_local = pa.types.is_timestamp(kind) and kind.tz is None
    found = {
        "INTEGER": pa.types.is_integer(kind),
        "TIMESTAMP": is_local or pa.types.is_date(kind),
        "DECIMAL": pa.types.is_decimal(kind),
    }
    return next((family for family, holds in found.items() if holds), None)
