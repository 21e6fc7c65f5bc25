"""What becomes of a sample: expected ``e`` beside stored ``o``, one of which may be missing."""

from __future__ import annotations

from metaxy_dagster import constants as c
from metaxy_dagster.stores.counts import NEW, ORPHANED, STALE, UNCHANGED
from metaxy_dagster.stores.duckdb.sql.identifiers import quote

__all__ = ["status"]


def status(*, has_marks: bool, has_own_filters: bool, has_versions: bool) -> str:
    """The status of a sample.

    Args:
        has_marks: whether samples may have been found empty before.
        has_own_filters: whether only some of the stored samples are looked at.
        has_versions: whether the expected ones bring data versions.
    """
    # What is called for here and stored elsewhere has moved.
    moved = " OR NOT (o.metaxy_in_scope OR o.metaxy_empty)" if has_marks else ""
    moved = (moved or " OR NOT o.metaxy_in_scope") if has_own_filters else ""
    if has_versions:
        # As a write does, which takes the rows if their data versions alone are others.
        moved += f" OR e.{quote(c.COL_DATA_VERSION)} IS DISTINCT FROM o.metaxy_stored_version"
    changed = (
        f"(e.{quote(c.COL_PROVENANCE)} IS DISTINCT FROM o.metaxy_stored OR o.metaxy_forced{moved})"
    )
    # Of a sample that yielded nothing nothing is stored: computing it again makes it new.
    empty = f" WHEN o.metaxy_empty AND {changed} THEN {NEW}" if has_marks else ""
    return (
        f"(CASE WHEN o.metaxy_present IS NULL THEN {NEW}{empty}"
        f" WHEN e.metaxy_present IS NULL THEN {ORPHANED}"
        f" WHEN {changed} THEN {STALE} ELSE {UNCHANGED} END)::UTINYINT"
    )
