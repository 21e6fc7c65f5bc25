"""Resolving in a file: which samples are new, stale or orphaned, and what there is of a feature."""

from __future__ import annotations

from typing import Any

from metaxy_dagster.features import FeatureGraph, FeatureKey, FeaturePlan, FeatureSpec
from metaxy_dagster.features.run_inputs import has_unknown_inputs, inputs_within, with_inputs
from metaxy_dagster.stores.duckdb.failures import quarantine
from metaxy_dagster.stores.duckdb.file import catalog, commits, identity, pins
from metaxy_dagster.stores.duckdb.file.connection import DuckDBFile
from metaxy_dagster.stores.duckdb.file.session import Sessions
from metaxy_dagster.stores.duckdb.resolve import full, source, summary, views
from metaxy_dagster.stores.duckdb.sql.chosen import chosen_rows
from metaxy_dagster.stores.duckdb.sql.filtering import parsed
from metaxy_dagster.stores.frames.root_samples import prepare_samples
from metaxy_dagster.stores.increment import Increment
from metaxy_dagster.stores.listing import Listing
from metaxy_dagster.stores.results import FeatureSummary

__all__ = ["Resolver"]


class Resolver:
    """What tells the pending samples of a store in one file."""

    def __init__(
        self, file: DuckDBFile, sessions: Sessions, max_share: float, max_attempts: int
    ) -> None:
        self._file, self._sessions = file, sessions
        self._max_share, self._max_attempts = max_share, max_attempts

    def resolve(
        self,
        graph: FeatureGraph,
        key: FeatureKey,
        *,
        samples: Any,
        filters: object,
        stale_when: object,
        keep_unchanged: bool,
        as_of: int | None,
    ) -> Increment:
        """Find the samples that are new, stale or orphaned.

        Raises:
            FrameError: a root without samples, or samples that are not valid.
            StoreError: there is no such commit yet, or a mapping names another feature.
        """
        declared, graph = graph, self._as_last_computed(graph, key)
        plan, version = graph.plan(key), graph.feature_version(key)
        whole, by_feature = chosen_rows(filters, plan)
        expected = prepare_samples(plan, version, samples)
        commit, held, known = self._sessions.snapshot, None, None
        if commit is None or self._sessions.has_failures(key):
            involved = [key, *(dep.upstream.key for dep in plan.deps)]
            with self._file.connect("r") as connection:
                known = catalog.read_catalog(connection, (), commit, beside=involved)
                identity.check_upstream_ids(known, plan)
                commit = known.commit
                if known.entry(key).failed:
                    names, only = views.sample_columns(plan), version if plan.is_root else None
                    held = quarantine.held(
                        connection, key, names, limit=self._max_attempts, version=only
                    )
        if as_of is not None:
            commit = pins.checked(as_of, commit, key)
            if not isinstance(commit, commits.Commit):
                with self._file.connect("r") as connection:
                    commit = commits.known_as(connection, commit)
        asked = full.Resolve(
            plan,
            version,
            commit,
            expected,
            whole,
            parsed(stale_when),
            keep_unchanged,
            self._max_share,
            {dep.upstream.key: declared.feature_class(dep.upstream.key) for dep in plan.deps},
            by_feature,
        )
        # What was read of the file already may tell that nothing is pending.
        is_settled = known is not None and as_of is None and asked.is_settled(known)
        found = source.DuckDBIncrementSource(self._file, asked, is_settled)
        answer = found if held is None else quarantine.WithoutQuarantined(found, held)
        return Increment(key, Listing(answer))

    def _as_last_computed(self, graph: FeatureGraph, key: FeatureKey) -> FeatureGraph:
        """The features; what only a run could tell is taken to be as in the last one."""
        if key not in graph or not has_unknown_inputs(graph[key]) or not self._file.exists:
            return graph
        with self._file.connect("r") as connection:
            spec = catalog.read_catalog(connection, [key]).entry(key).spec
        found = None if spec is None else inputs_within(FeatureSpec.model_validate_json(spec))
        return graph if found is None else with_inputs(graph, {key: found})

    def summary(self, plan: FeaturePlan, filters: object, preview: int) -> FeatureSummary:
        """Schema, number, data version and first samples of a feature."""
        only, samples = parsed(filters), tuple(views.sample_columns(plan))
        commit, limit = self._sessions.snapshot, self._max_attempts
        with self._file.connect("r") as connection:
            look = summary.Summarise(plan.spec, commit, only, preview, limit, samples)
            return look.run(connection)
