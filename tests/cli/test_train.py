import json
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
    again = call("evaluate.py", "a run, ä")
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
    "study", sorted(path.stem for path in (SCRIPTS.parent / "conf" / "studies").glob("*.yaml"))
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
