"""A search proposes, runs and prunes trials, and goes on where it stopped."""

import io
import math

import pytest
from rich.console import Console

from research import records
from research.config import Config, ConfigError, SearchConfig
from research.records import RunResult, find_runs, read_run
from research.records.search import read_search
from research.training.callback import EpochMetrics

module = pytest.importorskip("research.sweeps.search", reason="could not import optuna")

distributions = pytest.importorskip("optuna.distributions")
CategoricalDistribution = distributions.CategoricalDistribution
FloatDistribution, IntDistribution = distributions.FloatDistribution, distributions.IntDistribution

SPACE = {
    "optimizer.learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "model.depth": IntDistribution(1, 3),
}


def make_config(params) -> Config:
    model = {"name": "plain", "depth": params["model.depth"]}
    optimizer = {"name": "adam", "learning_rate": params["optimizer.learning_rate"]}
    return Config.from_dict({"model": model, "optimizer": optimizer, "training": {"epochs": 3}})


def line(epoch: int, accuracy: float) -> EpochMetrics:
    return EpochMetrics(epoch, epoch, 1.0, 0.5, 1.0, accuracy, 0.1, 1.0)


def pretend(earlier, runs, received=None):
    """In place of a trial: a rate of 0.01 is the best one, and rates above 0.05 diverge."""
    [(folder, config)] = runs.items()
    rate, depth = config.optimizer.arguments["learning_rate"], config.model.arguments["depth"]
    accuracy = 0.9 - 0.2 * abs(math.log10(rate / 0.01)) + 0.01 * depth
    stop = earlier is not None and module.Pruning(earlier).on_epoch(line(1, accuracy))
    epochs = 1 if stop else 3
    lines = [vars(line(epoch, accuracy)) for epoch in range(1, 1 + epochs)]
    records.start_run(folder, config.to_dict(), lines)
    result = RunResult("completed", validation_accuracy=accuracy)
    result = RunResult("diverged", "the loss is not finite") if rate > 0.05 else result
    records.write_result(folder, RunResult("stopped", stop) if stop else result)
    return {folder: records.read_run(folder).outcome}


@pytest.fixture
def search(monkeypatch):
    """`search(folder, trials)` runs a search without training; returns it, its exit code and its output."""
    monkeypatch.setattr(module, "run_trial", pretend)
    for check in ("check", "check_with_data"):
        monkeypatch.setattr(module, check, lambda config: None)

    def run(folder, trials, space=SPACE, **options):
        output = io.StringIO()
        found = module.Search(space, make_config, worker=False)
        code = found.run(folder, SearchConfig(trials, **options), Console(file=output, width=200))
        return found, code, output.getvalue()

    return run


def test_a_search_comes_near_the_best_rate_and_prunes(search, tmp_path):
    found, code, output = search(tmp_path, 25)
    assert code == 0
    assert 0.005 < found.best.params["optimizer.learning_rate"] < 0.02
    assert output.count("\n") == 25
    assert "[25/25] optimizer.learning_rate=" in output
    statuses = {run.status for run in find_runs(tmp_path)}
    assert statuses == {"completed", "stopped", "diverged"}
    assert all(run.config["study"]["trial"] for run in find_runs(tmp_path))
    assert "pruned after epoch 1, validation accuracy" in output


def test_a_search_goes_on_as_if_it_had_not_stopped(search, tmp_path):
    whole, _, _ = search(tmp_path / "whole", 14)
    search(tmp_path / "cut", 6)
    record = read_search(tmp_path / "cut")
    assert record is not None
    last = tmp_path / "cut" / record.trials[-1].run
    (last / "result.json").unlink()  # as if the process had been killed in this trial
    cut, code, output = search(tmp_path / "cut", 14)
    assert code == 0
    assert read_search(tmp_path / "cut") == read_search(tmp_path / "whole")
    assert [trial.params for trial in cut.trials] == [trial.params for trial in whole.trials]
    assert output.count("\n") == 9
    assert search(tmp_path / "cut", 14)[2] == ""


def test_without_pruning_every_trial_ends(search, tmp_path):
    search(tmp_path, 12, prune=False)
    assert {run.status for run in find_runs(tmp_path)} <= {"completed", "diverged"}


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(search, tmp_path, monkeypatch):
    def fail(earlier, runs, received=None):
        [folder] = runs
        if len(earlier) == 1:
            records.write_result(folder, RunResult("failed", "ValueError: no"))
            return {folder: read_run(folder).outcome}
        return pretend(earlier, runs)

    monkeypatch.setattr(module, "run_trial", fail)
    found, code, output = search(tmp_path, 3)
    assert code == 1
    assert "failed  ValueError: no" in output
    assert len(found.trials) == 3
    assert found.best is not None


def test_trials_with_equal_values_share_a_run(search, tmp_path):
    space = {"optimizer.learning_rate": CategoricalDistribution([0.01]), "model.depth": IntDistribution(1, 2)}
    found, _, _ = search(tmp_path, 6, space)
    assert len(found.trials) == 6
    assert len(find_runs(tmp_path)) == 2


def test_another_search_in_the_folder_is_refused(search, tmp_path):
    search(tmp_path, 1)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"holds another search, search .*; give another folder"):
        search(tmp_path, 1, {**SPACE, "model.depth": IntDistribution(1, 2)})
    assert sorted(tmp_path.rglob("*")) == before


def test_every_end_of_the_space_is_checked_before_anything_runs():
    space = {**SPACE, "model.depth": IntDistribution(1, 99)}
    with pytest.raises(ConfigError, match=r"model\.depth=99 is not allowed"):
        module.Search(space, make_config)


def test_a_trial_below_the_median_of_five_is_pruned(search, tmp_path):
    found, _, _ = search(tmp_path, 8, prune=False)
    first = [trial.intermediate_values[1] for trial in found.trials if trial.values]
    assert len(first) >= 5
    assert module.Pruning(found.trials).on_epoch(line(1, min(first) - 0.1)).startswith("pruned after epoch 1")
    assert module.Pruning(found.trials).on_epoch(line(1, max(first) + 0.1)) is None
    assert module.Pruning(found.trials[:2]).on_epoch(line(1, 0.0)) is None


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.0123456, 1e-4, 0.1, 0.01235),
        (0.99999, 0.1, 0.99995, 0.99995),
        (0.100001, 0.10000001, 1.0, 0.10000001),
    ],
)
def test_a_number_is_rounded_within_its_bounds(value, low, high, expected):
    assert module._rounded(value, FloatDistribution(low, high)) == expected
