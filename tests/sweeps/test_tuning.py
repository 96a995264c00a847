"""Equal tuning: as many trials for each arm, on validation, over seeds of their own."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from research.config import Config, ConfigError
from research.records import Run, RunResult, find_runs, write_config, write_result
from research.sweeps import tuning
from research.sweeps.tuning import check_seed, choose_rates, make_trials, run_tuned

FACTORS = (0.1, 1.0, 3.0)


def config(seed: int, learning_rate: float = 0.003, **changes) -> Config:
    study = {
        "name": "optimizer",
        "question": "?",
        "axis": "optimizer",
        "arm": "adam",
        "arms": ["adam"],
        "reference": "adam",
        "tuning": {"seeds": [1000, 1001], "learning_rate": FACTORS},
    } | changes
    return Config.from_dict(
        {
            "seed": seed,
            "model": {"name": "tiny"},
            "optimizer": {"name": "adam", "learning_rate": learning_rate},
            "data": {"train_limit": 200},
            "training": {"epochs": 1, "xla_optimization_level": 0},
            "study": study,
        }
    )


def outcome(trial: Config, accuracy: float, loss: float = 0.5, status: str = "completed") -> Run:
    result = RunResult(status, validation_accuracy=accuracy, validation_loss=loss)
    return Run(Path("trial"), trial.to_dict(), [], result)


def rate(config: Config) -> float:
    return config.optimizer.arguments["learning_rate"]


def test_every_seed_of_an_arm_has_the_same_trials():
    trials = make_trials(config(0))
    assert trials == make_trials(config(1))
    assert [(rate(trial), trial.seed) for trial in trials] == [
        (factor, seed) for factor in (0.0003, 0.003, 0.009) for seed in (1000, 1001)
    ]
    assert all(trial.study is not None and trial.study.trial for trial in trials)
    assert make_trials(config(0, tuning=None)) == []


def test_the_best_mean_of_validation_is_chosen_then_the_lowest_loss():
    trials = make_trials(config(3))
    chosen = choose_rates(config(3), map(outcome, trials, (0.8, 0.8, 0.99, 0.7, 0.9, 0.9)))
    assert rate(chosen) == 0.009
    assert chosen.seed == 3
    assert chosen.study == config(3).study
    tied = choose_rates(config(3), map(outcome, trials, [0.9] * 6, (0.3, 0.3, 0.2, 0.3, 0.3, 0.3)))
    assert rate(tied) == 0.003


def test_rates_with_a_trial_that_diverged_are_not_chosen():
    trials = make_trials(config(0))
    statuses = ["completed"] * 4 + ["completed", "diverged"]
    chosen = choose_rates(
        config(0), map(outcome, trials, (0.5, 0.5, 0.6, 0.6, 0.9, 0.9), [0.5] * 6, statuses)
    )
    assert rate(chosen) == 0.003
    none_left = choose_rates(config(0, 0.05), map(outcome, trials, [0.5] * 6, [0.5] * 6, ["diverged"] * 6))
    assert none_left == config(0, 0.05)


def test_a_run_has_no_seed_of_a_trial():
    with pytest.raises(ConfigError, match=r"seed=1001 is not allowed, because study\.tuning\.seeds has it"):
        check_seed(config(1001))


@pytest.mark.integration
def test_trials_run_first_see_no_test_split_and_are_not_run_twice(tmp_path):
    def launch() -> str:
        runs = {
            tmp_path / config(seed).run_name(): (config(seed), make_trials(config(seed))) for seed in range(2)
        }
        output = io.StringIO()
        code, folders = run_tuned(runs, worker=False, console=Console(file=output, width=200))
        assert code == 0
        assert len(folders) == 8
        return output.getvalue()

    said = launch().splitlines()
    assert ["validation" in line for line in said] == [True] * 6 + [False] * 2
    runs = find_runs(tmp_path)
    trials = [run for run in runs if run.config["study"]["trial"]]
    assert len(runs) == 8
    for trial in trials:
        assert trial.outcome.test_accuracy is trial.outcome.test_loss is None
        assert trial.arrays() == {}
    (chosen,) = {run.config["optimizer"]["learning_rate"] for run in runs if run not in trials}
    assert chosen == rate(choose_rates(config(0), trials))
    assert launch().splitlines() == ["6 of 6 runs are done already", "2 of 2 runs are done already"]


def test_an_arm_waits_for_its_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "run_sweep", leave_one_out)
    code, _ = run_tuned({tmp_path / config(0).run_name(): (config(0), make_trials(config(0)))})
    assert code == 1
    assert [run.config["study"]["trial"] for run in find_runs(tmp_path)] == [True] * 6


def leave_one_out(runs, **options):
    """In place of a sweep: all but the first run end."""
    for index, (folder, config) in enumerate(runs.items()):
        write_config(folder, config.to_dict())
        if index:
            write_result(folder, RunResult("completed", validation_accuracy=0.5, validation_loss=1.0))
    return 1 if runs else 0
