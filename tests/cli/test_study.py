"""A study of ``conf/studies`` from the command line is the same plan as from Python."""

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from research.cli import train
from research.cli.jobs import open_sweep
from research.cli.nodes import register
from research.config import ConfigError
from research.records import find_runs, read_run
from research.runs.worker import ThisProcess
from research.studies import Study, read_study
from research.studies import study as module
from research.sweeps import sweep

BASE = "base: {model: tiny, training: {epochs: 1, xla_optimization_level: 0}, data.train_limit: 128}\n"

FILES = {
    "one_key": "question: '?'\naxis: model.activation\narms: [relu, tanh]\nreference: relu\n" + BASE,
    "several_keys": (
        "arms:\n"
        "  it's plain: {}\n"
        "  another one: {optimizer: sgd, optimizer.learning_rate: 0.1, training: {batch_size: 32}}\n"
        "reference: it's plain\n" + BASE
    ),
    "in_stages": (
        "axis: model.activation\narms: [relu, tanh]\nreference: relu\n"
        "stages:\n"
        "  - {name: pretrain, base: {data.split_seed: 1, optimizer: sgd, training.epochs: 5}}\n"
        "  - {name: finetune, from: pretrain}\n" + BASE
    ),
}


@pytest.fixture(params=FILES)
def name(request, monkeypatch, tmp_path, stored_anew):
    """The name of a study whose file lies in a folder of its own."""
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / f"{request.param}.yaml").write_text(FILES[request.param])
    monkeypatch.setattr(module, "STUDIES", folder)
    monkeypatch.setattr(sweep, "Worker", ThisProcess)  # tests/integration/test_train.py has the worker
    yield request.param
    ConfigStore.instance().repo["study"].pop(f"{request.param}.yaml")


def test_both_ways_make_the_same_folders_and_read_each_other(call, name):
    sweep = ("-m", f"+study={name}", "seed=0,1", "training.epochs=1", "hydra.sweep.dir=runs")
    outcome = call("train.py", *sweep)
    assert outcome.code == 0, outcome.err
    runs = {run.path.name for run in find_runs(Path("runs"))}
    study = Study.from_conf(name)
    if name == "in_stages":  # the command line's epochs hold for every stage, and the stage has its own here
        study = Study.from_file(_with_one_epoch(module.STUDIES / f"{name}.yaml"))
        first = [run for run in find_runs(Path("runs")) if run.config["study"]["stage"] == "pretrain"]
        assert {(run.config["optimizer"]["name"], run.config["training"]["epochs"]) for run in first} == {
            ("sgd", 1)
        }
        assert {run.config["seed"] for run in first} == {0, 1}
    before = {name: (Path("runs") / name / "result.json").exists() for name in runs}
    results = study.run(range(2), "runs")
    assert {run.path.name for run in find_runs(Path("runs"))} == runs, before
    assert results.arms().rows == read_study("runs").arms().rows
    assert [row["n"] for row in results.arms().to_dicts()] == [2, 2]
    again = call("train.py", *sweep)
    assert "4 of 4 runs are done already" in again.out


def _with_one_epoch(path: Path) -> Path:
    path.write_text(path.read_text().replace("training.epochs: 5", "training.epochs: 1"))
    return path


@pytest.mark.parametrize("name", ["in_stages"], indirect=True)
def test_stages_need_a_sweep(call, name):
    outcome = call("train.py", f"+study={name}")
    assert outcome.code == 2
    assert "a study with stages is only allowed in a sweep on this machine; give -m" in outcome.err


@pytest.mark.parametrize("name", ["several_keys"], indirect=True)
def test_without_a_sweep_the_reference_arm_runs(call, name):
    assert call("train.py", f"+study={name}", "run=one").code == 0
    assert read_run(Path("one")).config["study"]["arm"] == "it's plain"


def check(words):
    """Check the sweep of a command line as `train` does before a launcher starts."""
    sweep = open_sweep(train.COMMAND, words)
    assert sweep is not None
    assert sweep.launcher == "fake"
    train.check_launcher(sweep)


@pytest.fixture
def launcher():
    """The words of a sweep by a launcher, which Hydra finds as it finds that of a plugin."""
    register(train.COMMAND)
    node = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
    ConfigStore.instance().store(group="hydra/launcher", name="fake", node=node, provider="test")
    yield ["-m", "hydra/launcher=fake"]
    ConfigStore.instance().repo["hydra"]["launcher"].pop("fake.yaml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["model.depth=1,2", "seed=0,1"],
            "This study is descriptive: 3 contrasts need 7 seeds, and there are 2",
        ),
        (
            ["model.depth=1,2", "study.arms=[depth 1,depth 2]"],
            "1 contrast needs 6 seeds, and there is 1, so no",
        ),
        (["model.depth=2", "seed=range(0,7)"], ""),
    ],
)
def test_too_few_seeds_are_said_before_a_launcher_starts(capsys, launcher, words, said):
    check([*launcher, "+study=depth", *words])
    out = capsys.readouterr().out
    assert said in out
    assert bool(out) == bool(said)


def test_a_sweep_without_a_study_says_nothing_before_a_launcher_starts(capsys, launcher):
    check([*launcher, "model=tiny,plain", "seed=0,1"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["+study=depth", "study.reference=depth 9"],
            "study.reference=depth 9 is not allowed; give one of depth 1",
        ),
        (
            ["+study=depth", "model.depth=1,3"],
            "study.reference=depth 2 is not allowed, because the sweep has no run",
        ),
        (
            ["+study=depth", "model.depth=range(3,5)"],
            "add that arm to the sweep, or give one of depth 3, depth 4",
        ),
        (["+study=depth", "study.arms=[depth 2]", "model.depth=2,3"], "study.arm=depth 3 is not allowed"),
        (
            ["+study=activation", "model.activation=choice(elu,tanh)"],
            "study.reference=relu is not allowed, because",
        ),
        (
            ["+study=architecture", "model=glob(ti*)"],
            "study.reference=reference is not allowed, because the sweep",
        ),
        (
            ["+study=depth", "model.depth=2,7"],
            "model.depth=7 is not allowed; give a whole number, from 1 to 4",
        ),
        (
            ["+study=optimizer"],
            "study.tuning is only allowed in a sweep on this machine; give -m without a launch",
        ),
    ],
)
def test_arms_that_cannot_be_compared_are_refused_before_a_launcher_starts(launcher, words, said):
    with pytest.raises(ConfigError) as error:
        check([*launcher, *words])
    assert said in str(error.value)


def test_the_sweep_of_a_file_that_chooses_a_launcher_is_checked(launcher, tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "cluster.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/launcher: fake\n"
    )
    words = ["--config-dir", str(tmp_path), "-m", "+place=cluster", "+study=depth", "model.depth=1,3"]
    with pytest.raises(ConfigError, match=r"study\.reference=depth 2 is not allowed"):
        check(words)
