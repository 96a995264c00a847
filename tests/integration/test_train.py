"""`train` as a person starts it: sweeps, seeds trained together, a sweep that is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.records import find_runs
from research.studies import read_study

SCRIPTS = Path(__file__).parents[2] / "scripts"

LITTLE = "training.xla_optimization_level=0"  # a few steps only: compiling is most of it
QUICK = ("training.epochs=2", "data.train_limit=300", "model=tiny", LITTLE)


def launch(command, folder):
    """Run a command as a person would, without what this process set for itself."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_sweep_runs_in_a_worker_and_a_second_launch_runs_nothing(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "train.py"),
        *(
            "-m",
            "+study=activation",
            "model.activation=relu,tanh",
            "model.depth=1",
            "model.widths=[8,8,8,8]",
            "seed=0,1",
            *QUICK[:2],
            LITTLE,
            "hydra.sweep.dir=sweep",
        ),
    ]
    first = launch(command, tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    sentence, *lines = first.stdout.splitlines()
    assert sentence == (
        "This study is descriptive: 6 contrasts need 8 seeds, and there are 2, so no difference is claimed."
    )
    assert len(lines) == 4
    runs = find_runs(tmp_path / "sweep")
    assert sorted((run.config["study"]["arm"], run.config["seed"]) for run in runs) == [
        ("relu", 0),
        ("relu", 1),
        ("tanh", 0),
        ("tanh", 1),
    ]
    assert {run.status for run in runs} == {"completed"}
    times = [(run.path / "result.json").stat().st_mtime_ns for run in runs]
    second = launch(command, tmp_path)
    assert second.returncode == 0
    assert second.stdout == f"{sentence}\n4 of 4 runs are done already\n"
    assert [(run.path / "result.json").stat().st_mtime_ns for run in runs] == times

    rows = read_study(tmp_path / "sweep").arms().to_dicts()
    assert [(row["arm"], row["n"]) for row in rows if row["n"]] == [("relu", 2), ("tanh", 2)]


def test_seeds_are_trained_together_and_a_second_launch_runs_nothing(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "train.py"),
        *QUICK,
        "seed=3",
        "training.runs_per_program=2",
        "run=seeds",
    ]
    first = launch(command, tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    runs = find_runs(tmp_path / "seeds")
    assert [(run.config["seed"], run.status) for run in runs] == [(3, "completed"), (4, "completed")]
    assert launch([*command, "resume=true"], tmp_path).stdout == "2 of 2 runs are done already\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker through /proc")
def test_the_worker_of_a_killed_sweep_ends(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "train.py"),
        "-m",
        "seed=0,1",
        "training.epochs=1000000",
        QUICK[2],
    ]
    sweep = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.rglob("metrics.jsonl")))
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
    assert children
    sweep.kill()
    sweep.wait()
    wait_for(lambda: not any(is_running(child) for child in children))


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
