import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.config import Config
from research.records import find_runs, read_run

SCRIPTS = Path(__file__).parents[2] / "scripts"

LITTLE = "training.xla_optimization_level=0"  # a few steps only: compiling is most of it
QUICK = ("training.epochs=2", "data.train_limit=300", "model=tiny", LITTLE)


def test_a_run_says_its_accuracy_and_folder_and_can_be_evaluated(call):
    outcome = call("train.py", *QUICK, "run='a run, ä'")
    assert outcome.code == 0, outcome.err
    *epochs, accuracy, folder = outcome.out.splitlines()
    assert len(epochs) == 2
    assert folder == "run a run, ä"
    result = read_run(Path("a run, ä")).outcome
    assert accuracy == f"test accuracy {result.test_accuracy:.4f}"
    again = call("evaluate.py", "run='a run, ä'")
    assert again.out.splitlines() == [
        f"test loss {result.test_loss!r}",
        f"test accuracy {result.test_accuracy!r}",
    ]


def test_a_finished_run_is_not_overwritten(call):
    assert call("train.py", *QUICK, "run=once").code == 0
    before = Path("once/result.json").read_bytes()
    outcome = call("train.py", *QUICK, "run=once", "seed=1")
    assert outcome.code == 2
    assert "once holds a finished run" in outcome.err
    assert Path("once/result.json").read_bytes() == before


def test_inspect_model_prints_a_table_or_json(call):
    table = call("inspect_model.py", "model=plain", "model.depth=3", "data=mnist")
    assert table.code == 0
    assert table.out.splitlines()[-1].split()[:2] == ["total", "87,114"]
    rows = json.loads(
        call("inspect_model.py", "model=plain", "model.depth=3", "data=mnist", "format=json").out
    )
    assert rows["total"]["parameters"] == 87114


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
            "seed=0,1",
            *QUICK[:2],
            LITTLE,
            "hydra.sweep.dir=sweep",
        ),
    ]
    first = launch(command, tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert len(first.stdout.splitlines()) == 4
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
    assert second.stdout == "4 of 4 runs are done already\n"
    assert [(run.path / "result.json").stat().st_mtime_ns for run in runs] == times

    report = [sys.executable, str(SCRIPTS / "report.py"), "sweep"]
    said = launch(report, tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "report sweep/report.md"
    assert "relu" in (tmp_path / "sweep" / "report.md").read_text()


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


@pytest.mark.parametrize("status", ["diverged"])
def test_a_diverged_run_is_recorded_and_not_raised(call, status):
    outcome = call("train.py", *QUICK, "run=wild", "optimizer=sgd", "optimizer.learning_rate=1e30")
    assert outcome.code == 0
    assert "diverged: the loss is not finite" in outcome.out
    run = read_run(Path("wild"))
    assert run.status == status
    assert run.outcome.test_accuracy is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "study", sorted(path.stem for path in (SCRIPTS.parent / "conf" / "study").glob("*.yaml"))
)
def test_every_study_runs_all_its_arms(call, study):
    small = ("training.epochs=1", "training.batch_size=32", "data.train_limit=64", LITTLE)
    outcome = call("train.py", "-m", f"+study={study}", *small)
    assert outcome.code == 0, outcome.err
    runs = find_runs(Path("multirun") / study)
    plan = runs[0].config["study"]
    assert {run.config["study"]["arm"] for run in runs} == set(plan["arms"])
    assert plan["reference"] in plan["arms"]
    assert {run.status for run in runs} == {"completed"}


@pytest.mark.parametrize(
    "experiment", sorted(path.stem for path in (SCRIPTS.parent / "conf" / "experiment").glob("*.yaml"))
)
def test_every_experiment_runs(call, experiment):
    small = ("training.epochs=1", "training.batch_size=32", "data.train_limit=64", "data=digits", LITTLE)
    padding = "model.padding=SAME"  # three VALID convolutions do not fit into the 8x8 pixels of digits
    outcome = call("train.py", f"+experiment={experiment}", *small, padding, "run=short")
    assert outcome.code == 0, outcome.err
    assert read_run(Path("short")).status == "completed"


def test_the_files_and_the_package_have_the_same_defaults(call):
    assert call("train.py", *QUICK[:2], "run=defaults").code == 0
    config = read_run(Path("defaults")).config
    config["training"]["epochs"], config["data"]["train_limit"] = 20, None
    assert config == Config.from_dict({}).to_dict()
