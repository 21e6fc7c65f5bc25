"""The increment that a write answers: of this definition, by the ids that it names, once."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from metaxy_dagster import constants as c
from metaxy_dagster.errors import FrameError
from metaxy_dagster.features import FeaturePlan
from metaxy_dagster.stores.duckdb.resolve.source import origin
from metaxy_dagster.stores.duckdb.resolve.watermark import fingerprint
from metaxy_dagster.stores.frames.checks import is_struct_of_text, is_text, spelt_otherwise
from metaxy_dagster.stores.frames.given import foreign_rows
from metaxy_dagster.stores.frames.spool import SpooledColumns
from metaxy_dagster.stores.increment import Increment

__all__ = ["Asked", "check_increment"]


@dataclass(frozen=True)
class Asked:
    """What an increment asked for.

    Attributes:
        plan: the feature.
        listed: the samples, with their provenance.
        sample_columns: what names them.
        feature_version: the feature's version when it was resolved.
    """

    plan: FeaturePlan
    listed: pa.Table | SpooledColumns
    sample_columns: tuple[str, ...]
    feature_version: str

    def fitted(self, rows: pa.Table) -> pa.Table:
        """Rows with ids of the kind that the increment has.

        Raises:
            FrameError: text for numbers (or the other way round), which may be spelt in more ways
                than one; numbers that the increment cannot have; or times with a zone for those
                without one.
        """
        wanted = self.listed.schema
        for name in self.sample_columns:
            here, there = rows.schema.field(name).type, wanted.field(name).type
            if here == there or not (_is_plain(here) and _is_plain(there)):
                continue
            if is_text(here) is not is_text(there):
                self._check_spelling(rows, name)
                continue
            if _has_zone(here) is not _has_zone(there):
                raise _spelt(self.plan, name, str(here), str(there))
            if not pa.types.is_integer(there) or pa.types.is_integer(here):
                continue
            try:
                column = rows.column(name).cast(there)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise _spelt(self.plan, name, f"{here} ({error})", str(there)) from error
            rows = rows.set_column(rows.column_names.index(name), name, column)
        return rows

    def _check_spelling(self, rows: pa.Table, name: str) -> None:
        """Refuse text for what is no text, unless it is written in the one way that numbers are.

        Raises:
            FrameError: with what is written otherwise.
        """
        here, there = rows.schema.field(name).type, self.listed.schema.field(name).type
        other = [spelt_otherwise(rows.column(name))] if pa.types.is_integer(there) else []
        if pa.types.is_integer(here):
            texts = self._column(name)
            other = [spelt_otherwise(texts, all_numbers=False)]
        if not other or other[0]:
            found = f"{here}, for example {other[0]}" if other else str(here)
            raise _spelt(self.plan, name, found, str(there))

    def _column(self, name: str) -> pa.ChunkedArray:
        if isinstance(self.listed, pa.Table):
            return self.listed.column(name)
        parts = self.listed.spool.parts([name])
        return pa.chunked_array([chunk for part in parts for chunk in part.column(name).chunks])

    def stamped(self, rows: pa.Table) -> pa.Table:
        """Rows whose provenance, if they bring some, is to be that of the increment.

        What came along with the rows of another feature says nothing of these.
        """
        name = c.COL_PROVENANCE_BY_FIELD
        if name not in rows.column_names:
            return rows
        number, kind = rows.column_names.index(name), rows.schema.field(name).type
        known = {str(field.key) for field in self.plan.fields}
        entries = {one.name for one in kind} if is_struct_of_text(kind) else set()
        foreign = foreign_rows(rows, {self.feature_version})
        if entries != known or c.COL_FEATURE_VERSION not in rows.column_names:
            return rows.remove_column(number)
        if foreign is None or not pc.any(foreign).as_py():
            return rows
        nothing = pa.scalar(None, kind)
        return rows.set_column(number, name, pc.if_else(foreign, nothing, rows.column(name)))


def check_increment(increment: object, plan: FeaturePlan, feature_version: str) -> Asked:
    """Refuse what is no increment of this feature as it is defined now.

    Its code alone may have changed since: what was computed by the older code is stale then.

    Raises:
        FrameError: with what it is.
    """
    if not isinstance(increment, Increment) or increment.feature != plan.key:
        raise FrameError(
            "what was passed as the increment is not one of this feature",
            feature=str(plan.key),
            found=f"an increment of {str(increment.feature)!r}"
            if isinstance(increment, Increment)
            else type(increment).__qualname__,
            allowed=f"what store.resolve_update({str(plan.key)!r}) gave",
            remedy="pass the increment that the frame was computed from",
        )
    source = origin(increment.source)
    if source is None:
        return Asked(plan, increment.listed, increment.sample_columns, feature_version)
    asked = source.resolve
    same = asked.fingerprint == fingerprint(plan, feature_version)
    if not same and _definition(asked.plan) != _definition(plan):
        then, now = (_told(one) for one in (asked.plan, plan))
        raise FrameError(
            "the increment was resolved for another definition of the feature",
            feature=str(plan.key),
            found=then,
            allowed=now if now != then else "the definition of now, which has other deps",
            remedy="resolve again, and compute from that",
        )
    return Asked(plan, increment.listed, increment.sample_columns, asked.feature_version)


def _definition(plan: FeaturePlan) -> tuple[object, ...]:
    """All that decides what a sample is and what it is computed from, but for code versions."""
    fields = sorted((str(field.key), list(map(str, field.parents))) for field in plan.fields)
    deps = [dep.model_dump_json() for dep in plan.spec.deps]
    return sorted(plan.spec.id_columns), fields, deps


def _told(plan: FeaturePlan) -> str:
    return f"id_columns {list(plan.spec.id_columns)}, fields {[str(f.key) for f in plan.fields]}"


def _has_zone(kind: pa.DataType) -> bool:
    """Local times and moments are the same in UTC alone, and nothing says that these are."""
    return pa.types.is_timestamp(kind) and kind.tz is not None


def _is_plain(kind: pa.DataType) -> bool:
    """Of others the engine has to know what compares with them."""
    types = pa.types
    plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    return is_text(kind) or types.is_temporal(kind) or any(is_(kind) for is_ in plain)


def _spelt(plan: FeaturePlan, name: str, found: str, allowed: str) -> FrameError:
    return FrameError(
        f"id column {name!r} arrives in another type than the increment names its samples by",
        feature=str(plan.key),
        found=found,
        allowed=allowed,
        remedy=f"return {name!r} as the increment gave it, so that it is found again",
    )
