"""Sweeps go on when a run fails or its process dies."""

import importlib
import io
import multiprocessing
import os
import signal

import jax.numpy as jnp
import pytest
from rich.console import Console

from research import records
from research.config import Config
from research.records import find_runs, read_run
from research.records.lock import hold
from research.records.status import read_status, seconds_left
from research.sweeps import sweep as module
from research.sweeps import vectorized as group
from research.sweeps.sweep import RunError, run_apart, run_recorded, run_sweep


def config(seed: int, **training) -> Config:
    return Config.from_dict(
        {
            "seed": seed,
            "model": {"name": "tiny"},
            "data": {"train_limit": 200},
            "training": {"epochs": 1, "xla_optimization_level": 0, **training},
        }
    )


def die_on_seed_1(runs):
    """In place of a run, in the worker: the process of seed 1 is killed."""
    if any(config.seed == 1 for config in runs.values()):
        os.kill(os.getpid(), signal.SIGKILL)
    return run_recorded(runs)


def run_one(config, folder):
    return run_recorded({folder: config})[folder]


def test_a_failed_run_is_recorded_with_its_error(tmp_path):
    outcome = run_one(config(0, batch_size=10_000), tmp_path / "run")
    assert outcome.status == "failed"
    run = read_run(tmp_path / "run")
    assert run.status == "failed"
    assert "batch_size=10000 is not allowed" in str(run.outcome.error)
    assert "Traceback" in str(run.outcome.traceback)


def test_a_sweep_survives_a_failing_run_and_a_dying_process(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run_recorded", die_on_seed_1)
    runs = {tmp_path / str(seed): config(seed) for seed in range(3)}
    runs[tmp_path / "3"] = config(3, batch_size=10_000)
    output = io.StringIO()
    assert run_sweep(runs, console=Console(file=output, width=200)) == 1
    assert [run.status for run in find_runs(tmp_path)] == ["completed", "missing", "completed", "failed"]
    assert "the process died" in output.getvalue()

    monkeypatch.setattr(module, "run_recorded", run_recorded)
    output = io.StringIO()
    assert run_sweep(runs, console=Console(file=output, width=200)) == 1
    assert "2 of 4 runs are done already" in output.getvalue()
    assert [run.status for run in find_runs(tmp_path)] == ["completed", "completed", "completed", "failed"]


def take_all_memory_on_seed_1(runs):
    """In place of runs, in the worker: the arrays of seed 1 are larger than any machine."""
    if any(config.seed == 1 for config in runs.values()):
        group.run = lambda *_, **__: jnp.zeros((2**50,))
    return run_recorded(runs)


def test_a_sweep_survives_a_run_that_is_out_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run_recorded", take_all_memory_on_seed_1)
    runs = {tmp_path / str(seed): config(seed) for seed in (0, 1)}
    output = io.StringIO()
    assert run_sweep(runs, console=Console(file=output, width=200)) == 1
    first, second = find_runs(tmp_path)
    assert (first.status, second.status) == ("completed", "failed")
    assert "RESOURCE_EXHAUSTED" in str(second.outcome.error)
    assert "Traceback" in str(second.outcome.traceback)


def test_every_run_is_planned_on_disk_before_the_first_starts(tmp_path, monkeypatch):
    runs = {tmp_path / str(seed): config(seed) for seed in range(2)}

    def no_worker(received):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "Worker", no_worker)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(runs)
    assert [run.status for run in find_runs(tmp_path)] == ["missing", "missing"]


def test_failed_runs_are_left_where_asked_and_finished_ones_are_not_touched(tmp_path):
    for seed, size in ((0, 32), (1, 10_000)):
        run_one(config(seed, batch_size=size), tmp_path / str(seed))
    before = [(tmp_path / str(seed) / "result.json").stat().st_mtime_ns for seed in (0, 1)]
    runs = {tmp_path / str(seed): config(seed, batch_size=size) for seed, size in ((0, 32), (1, 10_000))}
    output = io.StringIO()
    assert run_sweep(runs, retry_failed=False, console=Console(file=output, width=200)) == 1
    assert "2 of 2 runs are done already" in output.getvalue()
    assert "1 of 2 runs completed" in output.getvalue()
    assert [(tmp_path / str(seed) / "result.json").stat().st_mtime_ns for seed in (0, 1)] == before


def test_a_run_that_another_process_holds_is_not_run_and_shows_as_running(tmp_path):
    with hold(tmp_path / "0") as beat:
        records.write_config(tmp_path / "0", config(0).to_dict())
        beat(3, 12)
        assert run_one(config(0), tmp_path / "0").status == "locked"
        (running,) = read_status(tmp_path)
        assert (running.status, running.left) == ("running", 0.75)
        assert "step 3 of 12" in running.detail
    (missing,) = read_status(tmp_path)
    assert missing.status == "missing"
    assert run_one(config(0), tmp_path / "0").status == "completed"
    (done,) = read_status(tmp_path)
    assert done.status == "completed"
    assert seconds_left([done, running, missing]) == pytest.approx(1.75 * (done.seconds or 0))


def test_two_sweeps_at_once_run_each_run_once(tmp_path):
    started = multiprocessing.get_context("spawn")
    sweeps = [started.Process(target=sweep_over_two_seeds, args=(tmp_path,)) for _ in range(2)]
    for process in sweeps:
        process.start()
    for process in sweeps:
        process.join()
    assert [process.exitcode for process in sweeps] == [0, 0]
    said = "".join(path.read_text() for path in tmp_path.glob("said-*"))
    assert said.count("completed") == 2
    assert [run.status for run in find_runs(tmp_path)] == ["completed", "completed"]


def sweep_over_two_seeds(folder):
    runs = {folder / str(seed): config(seed) for seed in range(2)}
    with (folder / f"said-{os.getpid()}").open("w") as file:
        # each sweep is a process of its own already
        raise SystemExit(run_sweep(runs, worker=False, console=Console(file=file, width=200)))


@pytest.mark.slow
def test_seeds_that_go_together_end_as_those_that_go_alone(tmp_path):
    def launch(replicas: int, folder) -> str:
        configs = [config(seed, runs_per_program=replicas) for seed in range(3)]
        runs = {folder / each.run_name(): each for each in configs}
        output = io.StringIO()
        assert run_sweep(runs, console=Console(file=output, width=200)) == 0
        return output.getvalue()

    said = launch(2, tmp_path / "together")
    assert said == launch(1, tmp_path / "alone")
    assert said.count("completed") == 3
    for name in ("together", "alone"):
        assert launch(2, tmp_path / name) == "3 of 3 runs are done already\n"
    together, alone = (find_runs(tmp_path / name) for name in ("together", "alone"))
    assert [run.outcome.seconds and run.outcome.seconds.shared_by for run in together] == [2, 2, 1]
    for run, other in zip(together, alone, strict=True):
        assert run.path.name == other.path.name
        for name, array in run.arrays().items():
            assert array.tobytes() == other.arrays()[name].tobytes()


def test_where_the_process_of_a_group_dies_what_had_ended_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run_recorded", die_after_the_first)
    runs = {tmp_path / str(seed): config(seed, runs_per_program=2) for seed in range(2)}
    output = io.StringIO()
    assert run_sweep(runs, console=Console(file=output, width=200)) == 1
    assert [run.status for run in find_runs(tmp_path)] == ["completed", "missing"]
    assert [line.split()[2] for line in output.getvalue().splitlines()[:2]] == ["completed", "died"]


def die_after_the_first(runs):
    """In place of a group, in the worker: the process is killed when the first run has its result."""
    folder = next(iter(runs))
    run_recorded({folder: runs[folder]})
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_under_a_launcher_that_failed_is_left_if_asked(tmp_path):
    records.write_config(tmp_path, config(0).to_dict())
    records.write_result(tmp_path, records.RunResult("failed", "boom"))
    with pytest.raises(RunError, match="is failed"):
        run_apart(config(0), tmp_path, retry_failed=False)
    assert read_run(tmp_path).outcome.error == "boom"


def test_a_worker_starts_although_joblib_has_set_a_start_method_of_its_own(tmp_path):
    importlib.import_module("joblib.externals.loky.backend.context")  # it adds the method to multiprocessing
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("loky", force=True)
    try:
        run_apart(config(0), tmp_path)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert read_run(tmp_path).status == "completed"
