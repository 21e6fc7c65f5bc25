"""One run over worker processes: an injected dep makes the upstream execute first."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob


def test_case_01_injected_deps_order_a_multiprocess_run(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    monkeypatch.setenv("METAXY_TEST_TRACE", str(trace))
    module = Path(__file__).with_name("repository_for_workers.py")
    job = ReconstructableJob.for_file(str(module), "job")
    with (
        dg.instance_for_test(temp_dir=str(tmp_path)) as instance,
        dg.execute_job(job, instance=instance, raise_on_error=True) as result,
    ):
        assert result.success
    # By name they would start in the opposite order, and without bound inputs all at once.
    assert trace.read_text().split() == ["root", "graph", "leaf"]


def test_worker_processes_leave_the_same_bodies_out(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    monkeypatch.setenv("METAXY_TEST_TRACE", str(trace))
    module = Path(__file__).with_name("incremental_for_workers.py")
    job = ReconstructableJob.for_file(str(module), "job")
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for _ in range(2):
            with dg.execute_job(job, instance=instance, raise_on_error=True) as result:
                assert result.success
                evaluations = result.get_asset_check_evaluations()
            assert sorted(each.check_name for each in evaluations if each.passed) == [
                "failed",
                "failed",
                "orphaned",
                "pending",
                "schema",
                "schema",
                "unique_ids",
                "unique_ids",
            ]
    assert trace.read_text().split() == ["2"]


def test_worker_processes_agree_on_what_a_run_is_configured_with(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    monkeypatch.setenv("METAXY_TEST_TRACE", str(trace))
    module = Path(__file__).with_name("configured_for_workers.py")
    job = ReconstructableJob.for_file(str(module), "job")
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for config in ({}, {"scale": 2}, {"note": "x", "scale": 2}):
            given = {"ops": {"scores": {"ops": {"scaled": {"config": config}}}}}
            with dg.execute_job(
                job, instance=instance, run_config=given, raise_on_error=True
            ) as result:
                assert result.success
    assert trace.read_text().splitlines() == ["2 by 1", "2 by 2", "0 by 2"]
