"""Sweeps go on when a run fails or its process dies."""

import io
import os
import signal

import pytest
from rich.console import Console

from research import sweep as module
from research.config import Config
from research.records import find_runs, read_run
from research.sweep import Sweep, run_recorded


def config(seed: int, **training) -> Config:
    return Config.from_dict(
        {
            "seed": seed,
            "model": {"name": "tiny"},
            "data": {"train_limit": 200},
            "training": {"epochs": 1, **training},
        }
    )


def die_on_seed_1(config, folder):
    """In place of a run, in the worker: the process of seed 1 is killed."""
    if config.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_recorded(config, folder)


def test_a_failed_run_is_recorded_with_its_error(tmp_path):
    outcome = run_recorded(config(0, batch_size=10_000), tmp_path / "run")
    assert outcome["status"] == "failed"
    run = read_run(tmp_path / "run")
    assert run.status == "failed"
    assert run.result is not None
    assert "batch_size=10000 is not allowed" in run.result["error"]
    assert "Traceback" in run.result["traceback"]


def test_a_sweep_survives_a_failing_run_and_a_dying_process(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run_recorded", die_on_seed_1)
    sweep = Sweep()
    for seed in range(3):
        sweep.plan(config(seed), tmp_path / str(seed))
    sweep.plan(config(3, batch_size=10_000), tmp_path / "3")
    output = io.StringIO()
    assert sweep.run(Console(file=output, width=200)) == 1
    assert [run.status for run in find_runs(tmp_path)] == ["completed", "missing", "completed", "failed"]
    assert "the process died" in output.getvalue()

    monkeypatch.setattr(module, "run_recorded", run_recorded)
    output = io.StringIO()
    assert sweep.run(Console(file=output, width=200)) == 1
    assert "2 of 4 runs are done already" in output.getvalue()
    assert [run.status for run in find_runs(tmp_path)] == ["completed", "completed", "completed", "failed"]


def test_every_run_is_planned_on_disk_before_the_first_starts(tmp_path, monkeypatch):
    sweep = Sweep()
    for seed in range(2):
        sweep.plan(config(seed), tmp_path / str(seed))

    def no_worker():
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_worker", no_worker)
    with pytest.raises(KeyboardInterrupt):
        sweep.run()
    assert [run.status for run in find_runs(tmp_path)] == ["missing", "missing"]
