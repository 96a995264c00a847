import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from research.cli.nodes import register
from research.cli.train import COMMAND, TrainKeys, exit_code, unfinished
from research.cli.wrapper import compose_again, pop_keys
from research.config import Config, ConfigError
from research.records import RunResult, find_runs, read_run, write_config, write_result
from research.runs.preemption import StopOnSignal
from research.runs.run import run

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
    *lines, columns = again.out.splitlines()[:6]
    assert columns.split()[:5] == ["class", "images", "recall", "(%)", "0"]
    assert lines == [
        f"test loss {result.test_loss!r}",
        f"test accuracy {result.test_accuracy!r}",
        f"test balanced accuracy {result.measurements['test_balanced_accuracy']!r}",
        f"test macro f1 {result.measurements['test_macro_f1']!r}",
        "",
    ]
    others = call("evaluate.py", "a run, ä", "--data=digits")
    assert others.out.startswith("images 1797 of digits\naccuracy 0.")
    refused = call("evaluate.py", "a run, ä", "--data=nothing")
    assert refused.code == 2
    assert "nothing is no folder, CSV file or npz file, and no dataset; give a path" in refused.err
    views = call("evaluate.py", "a run, ä", "--tta=flip_shift")
    assert views.code == 0
    assert views.out.startswith("test loss ")
    assert views.out != again.out


def test_a_run_mixes_its_images_and_averages_the_views_of_an_evaluation(call):
    mixed = "data.augmentations=[alternating_flip,{name: rotate, degrees: 10},mixup]"
    assert call("train.py", *QUICK, mixed, "training.tta=flip", "run=mixed").code == 0
    result = read_run(Path("mixed")).outcome
    again = call("evaluate.py", "mixed")
    assert again.out.splitlines()[0] == f"test loss {result.test_loss!r}"
    assert call("evaluate.py", "mixed", "--tta=none").out != again.out


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
    assert outcome.code == 1
    assert "diverged: the loss is not finite" in outcome.out
    run = read_run(Path("wild"))
    assert run.status == status
    assert run.outcome.test_accuracy is None
    assert run.outcome.exit_code == 1
    assert call("train.py", "run=wild", "resume=true").code == 1


def test_an_exit_code_of_an_earlier_version_is_read_as_the_status_says():
    assert exit_code(RunResult("diverged", "an earlier version recorded 0", exit_code=0)) == 1
    assert exit_code(RunResult("completed")) == 0
    assert exit_code(RunResult("preempted", exit_code=143)) == 143


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder, with its bytes."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


NETWORK = ("model=tiny", "data.train_limit=64")


@pytest.mark.parametrize(
    "words",
    [
        ("training.batch_size=100", "run=new"),
        ("model.widths=[1,0]", "run=a/b/c"),
        ("init_from=nowhere", "run=new"),
        ("data=mnist", "data.dir=/nowhere", "run=new"),
        ("parallel=jit", "parallel.num_devices=99", "run=new"),
        ("run=new", "resume=true"),
        ("run=new", "seed=4294967295", "training.runs_per_program=2"),
        ("run=cut",),
        ("run=cut", "resume=true", "seed=1"),
        ("run=cut", "resume=true", "parallel=jit", "parallel.num_devices=99"),
        ("run=cut", "training.epochs=3"),
        ("run=file/below"),
    ],
    ids=" ".join,
)
def test_a_refused_run_changes_nothing(call, tmp_path, words):
    stop = StopOnSignal(lambda: signal.SIGTERM)
    values = {"model": "tiny", "data": {"train_limit": 64}, "training": {"epochs": 2}}
    assert run(Config.from_dict(values), tmp_path / "cut", [stop]).status == "preempted"
    (tmp_path / "file").touch()
    before = contents(tmp_path)
    outcome = call("train.py", *(() if "resume=true" in words else NETWORK), *words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert contents(tmp_path) == before


@pytest.fixture
def resumed(tmp_path):
    """`resumed(*words)` is the configuration with which a completed run goes on with these words."""
    values = {"model": "tiny", "seed": 3, "data": {"train_limit": 64}, "training": {"epochs": 2}}
    write_config(tmp_path, Config.from_dict(values).to_dict())
    write_result(tmp_path, RunResult("completed", epochs=2))
    register(COMMAND)

    def resume(*words: str) -> Config:
        composed: Any = OmegaConf.to_container(compose_again(COMMAND, list(words)))
        pop_keys(composed, TrainKeys)
        return unfinished(tmp_path, Config.from_dict(composed), words)

    return resume


def test_words_that_change_no_result_are_allowed_with_resume(resumed):
    config = resumed("training.epochs=412", "logging=tensorboard", "seed=3", "optimizer=adam")
    assert (config.training.epochs, config.training.continued_from) == (412, (2,))
    assert (config.model.name, config.data.train_limit, config.logging.to) == ("tiny", 64, "tensorboard")
    assert resumed("logging=none", "training.epochs=2", "sweep.retry_failed=false").training.epochs == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("training.epochs=412", "seed=3", "optimizer.learning_rate=0.5"), "optimizer.learning_rate=0.5"),
        (("seed=3", "model.depth=2", "logging=none"), "model.depth=2"),
        (("data=mnist", "model=tiny", "training.batch_size=7"), "data=mnist training.batch_size=7"),
        (("+experiment=mnist_fast", "seed=3"), "+experiment=mnist_fast"),
    ],
)
def test_only_the_words_that_differ_are_to_be_left_out(resumed, words, named):
    with pytest.raises(ConfigError, match=rf"which is another one; leave out {re.escape(named)}$"):
        resumed(*words)


def test_a_refused_sweep_changes_nothing(call, tmp_path):
    refused = ("-m", "model.depth=1,9", "data.train_limit=64")
    for words in ((), ("hydra.sweep.dir=a/b",)):
        assert call("train.py", *refused, *words).code == 2
        assert contents(tmp_path) == {}
    assert call("train.py", "-m", "+study=depth", "model=tiny").code == 2
    assert contents(tmp_path) == {}
    Path("sweep").mkdir()
    Path("sweep/multirun.yaml").write_text("of the launch before")
    os.utime("sweep/multirun.yaml", (1, 1))
    after_planning = ("-m", "+study=depth", "model=tiny", "study.arm=depth 1", "study.arms=[depth 2]")
    for words in (refused, after_planning):
        assert call("train.py", *words, "hydra.sweep.dir=sweep").code == 2
        assert contents(tmp_path) == {"sweep": None, "sweep/multirun.yaml": b"of the launch before"}
        assert Path("sweep/multirun.yaml").stat().st_mtime == 1


def test_the_log_of_hydra_is_in_the_folder_of_the_run(tmp_path):
    """In processes of their own, since Hydra changes the logging of the whole process."""
    command = [sys.executable, str(SCRIPTS / "train.py"), *QUICK, "hydra/job_logging=default", "run=logged"]
    for words, code in (("training.batch_size=9999",), 2), ((), 0):
        assert subprocess.run([*command, *words], cwd=tmp_path, capture_output=True).returncode == code
        assert not list(tmp_path.glob("*.log"))
        assert (tmp_path / "logged").exists() == (code == 0)
    assert (tmp_path / "logged" / "train.log").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "study", sorted(path.stem for path in (SCRIPTS.parent / "conf" / "studies").glob("*.yaml"))
)
def test_every_study_runs_all_its_arms(call, study):
    sizes = ("training.batch_size=32", "data.train_limit=64")
    sizes = ("data.train_limit=256",) if study == "batch_size" else sizes
    outcome = call("train.py", "-m", f"+study={study}", "training.epochs=1", *sizes, LITTLE)
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
