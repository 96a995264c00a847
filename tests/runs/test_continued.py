"""A completed run that is trained for more epochs."""

import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from research.config import Config, ConfigError
from research.records import RunResult, find_runs, is_finished, read_run, write_config, write_result
from research.runs import continued
from research.runs.continued import CONTINUED, continue_run, settle, with_more_epochs
from research.runs.preemption import StopOnSignal
from research.runs.run import run
from research.sweeps.sweep import run_sweep
from research.training.checkpoint import CheckpointError


def config(schedule: str = "constant", optimizer: Any = "adam", **training: Any) -> Config:
    """Two epochs of four steps."""
    return Config.from_dict(
        {
            "model": "tiny",
            "schedule": schedule,
            "optimizer": optimizer,
            "data": {"train_limit": 140},
            "training": {"epochs": 2, "batch_size": 32, "scan_steps": 1, "xla_optimization_level": 0}
            | training,
        }
    )


def log(folder: Path) -> list[dict]:
    """`metrics.jsonl` without the seconds."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "run"
    run(config(), folder)
    return folder


@pytest.fixture
def completed(two_epochs, tmp_path):
    """A completed run of two epochs, which the test may change."""
    return shutil.copytree(two_epochs, tmp_path / "run")


def test_with_a_constant_schedule_the_bits_are_those_of_as_many_epochs_at_once(completed, tmp_path):
    at_once = run(config(epochs=4), tmp_path / "at once")
    result = continue_run(with_more_epochs(completed, config(), 4), completed)
    assert result.test_loss == at_once.test_loss
    assert log(completed) == log(tmp_path / "at once")
    assert sorted(path.name for path in completed.iterdir()) == [
        "arrays.npz",
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model_card.md",
        "result.json",
    ]
    run_of = read_run(completed)
    assert (run_of.status, run_of.outcome.epochs) == ("completed", 4)
    assert run_of.config["training"]["continued_from"] == [2]
    again = with_more_epochs(completed, Config.from_dict(run_of.config), 5)
    assert again.training.continued_from == (2, 4)


def test_the_learning_rate_is_that_of_the_longer_schedule(tmp_path):
    run(config("cosine"), tmp_path / "run")
    run(config("cosine", epochs=4), tmp_path / "at once")
    before, at_once = (
        [line["learning_rate"] for line in log(tmp_path / name)] for name in ("run", "at once")
    )
    continue_run(with_more_epochs(tmp_path / "run", config("cosine"), 4), tmp_path / "run")
    assert [line["learning_rate"] for line in log(tmp_path / "run")] == [*before, *at_once[2:]]
    assert before[-1] < at_once[2]  # it rises again


def test_an_interruption_leaves_the_earlier_result_and_the_next_call_goes_on(completed, two_epochs, tmp_path):
    longer = with_more_epochs(completed, config(), 4)
    calls = itertools.count(1)
    stop = StopOnSignal(lambda: signal.SIGHUP if next(calls) >= 3 else None)
    result = continue_run(longer, completed, [stop])
    assert (result.status, result.exit_code) == ("preempted", 129)
    earlier = {name: content for name, content in files(completed).items() if f"/{CONTINUED}/" not in name}
    assert list(earlier.values()) == list(files(two_epochs).values())
    assert [found.status for found in find_runs(completed)] == ["completed", "preempted"]
    message = "training.epochs=6 is not allowed, because .*continued has begun to train to epoch 4; give that"
    with pytest.raises(ConfigError, match=message):
        continue_run(with_more_epochs(completed, config(), 6), completed)
    continue_run(longer, completed)
    assert len(log(completed)) == 4


def test_a_process_that_dies_while_the_files_are_replaced(completed, monkeypatch):
    replace = os.replace

    def replace_some(source, target):
        if Path(source) == completed / CONTINUED / "checkpoints":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(continued.os, "replace", replace_some)
    with pytest.raises(KeyboardInterrupt):
        continue_run(with_more_epochs(completed, config(), 4), completed)
    monkeypatch.undo()
    settle(completed)
    assert read_run(completed).outcome.epochs == 4
    assert not (completed / CONTINUED).exists()


def test_a_process_that_dies_after_it_copied_the_checkpoint(completed):
    shutil.copytree(
        completed / "checkpoints" / "step-000000008", completed / CONTINUED / "checkpoints" / "step-000000008"
    )
    assert continue_run(with_more_epochs(completed, config(), 3), completed).epochs == 3


def test_an_error_leaves_the_run_as_it_was(completed):
    before = files(completed)
    other = Config.from_dict(config(optimizer="sgd", epochs=4).to_dict())
    with pytest.raises(CheckpointError, match="is of another network"):
        continue_run(other, completed)
    assert files(completed) == before


def test_a_run_that_diverges_later_keeps_its_earlier_result(completed, monkeypatch):
    def diverging(config, folder, *_, resume):
        assert not is_finished(folder)
        write_config(folder, config.to_dict())
        write_result(folder, RunResult("diverged", "the loss is not finite at step 9"))
        return read_run(folder).outcome

    monkeypatch.setattr(continued, "run", diverging)
    longer = with_more_epochs(completed, config(), 4)
    assert continue_run(longer, completed).status == continue_run(longer, completed).status == "diverged"
    assert read_run(completed).outcome.epochs == 2


@pytest.mark.parametrize(
    ("epochs", "status", "patience", "message"),
    [
        (2, "completed", None, "has 2 epochs already; give a larger number"),
        (1, "completed", None, "has 2 epochs already; give a larger number"),
        (4, "preempted", None, "leave it out to finish the 2 epochs of .*, which is preempted"),
    ],
)
def test_what_cannot_continue_is_one_sentence(tmp_path, epochs, status, patience, message):
    stop = StopOnSignal(lambda: signal.SIGTERM if status == "preempted" else None)
    run(config(patience=patience), tmp_path, [stop])
    before = files(tmp_path)
    with pytest.raises(
        ConfigError, match=f"training.epochs={epochs} is not allowed with resume=true: .*{message}"
    ):
        with_more_epochs(tmp_path, config(), epochs)
    assert files(tmp_path) == before


def test_a_run_that_patience_ended_cannot_continue(tmp_path):
    still = config(optimizer={"name": "sgd", "learning_rate": 1e-30}, epochs=5, patience=1)
    assert run(still, tmp_path).epochs == 2
    with pytest.raises(ConfigError, match=r"training.patience ended .* after epoch 2; start another run"):
        with_more_epochs(tmp_path, still, 9)


def test_a_run_without_its_last_checkpoint_cannot_continue(completed):
    shutil.rmtree(completed / "checkpoints" / "step-000000008")
    before = files(completed)
    with pytest.raises(ConfigError, match=r"holds no checkpoint of its last step .*step-000000008"):
        continue_run(with_more_epochs(completed, config(), 4), completed)
    assert files(completed) == before


def test_no_run_claims_to_be_continued(tmp_path):
    with pytest.raises(
        ConfigError, match=r"training.continued_from=\[2\] is not allowed, because .* holds no"
    ):
        run(config(continued_from=[2], epochs=4), tmp_path)


def test_a_sweep_refuses_a_run_that_was_continued(completed):
    continue_run(with_more_epochs(completed, config(), 3), completed)
    with pytest.raises(ConfigError, match=r"was trained for more epochs \(training.continued_from=\[2\]\)"):
        run_sweep({completed: config()}, worker=False)
