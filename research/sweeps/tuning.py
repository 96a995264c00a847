"""Tuning: equally many trials for each arm of a study choose its learning rate and weight decay."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from rich.console import Console

from research.config import Config, ConfigError, Named
from research.records import FINISHED, Run, read_run
from research.sweeps.sweep import run_sweep

Runs = Mapping[Path, Config]
"""Configurations of runs by folder."""

TRIALS = "trials"
"""Name of the folder of the trials; it is beside the runs."""


def run_tuned(
    runs: Mapping[Path, tuple[Config, Sequence[Config]]],
    *,
    retry_failed: bool = True,
    worker: bool = True,
    console: Console | None = None,
) -> tuple[int, list[Path]]:
    """Run the trials that have no result yet, choose the rates, and run the runs that have no result yet.

    A trial has one pair of learning rate and weight decay and one seed of the tuning. The runs of the arm use
    the pair with the best mean validation accuracy, and other seeds than the trials. They are left out until
    all trials of the arm have ended, because a choice among some of the trials could differ from the choice
    after the next launch.

    Args:
        runs: the configuration of each run by its folder, and its trials, as `make_trials` returns them.
        retry_failed: run the runs that failed before again.
        worker: train in a worker process, which is replaced if it dies; False trains in this process.
        console: where to print.

    Returns:
        The exit code of `run_sweep`, and the folders of the trials and runs.
    """
    run = partial(run_sweep, retry_failed=retry_failed, worker=worker, console=console)
    trials = {_trial_folder(folder, trial): trial for folder, (_, each) in runs.items() for trial in each}
    code = run(trials)
    if code >= 128:
        return code, list(trials)
    tuned: dict[Path, Config] = {}
    for folder, (config, trials_of_run) in runs.items():
        outcomes = [read_run(_trial_folder(folder, trial)) for trial in trials_of_run]
        if all(trial.status in FINISHED for trial in outcomes):
            chosen = choose_rates(config, outcomes)
            tuned[folder.with_name(chosen.run_name())] = chosen
    return max(code, run(tuned)), [*trials, *tuned]


def check_seed(config: Config) -> None:
    """Refuse a run whose seed is that of a trial.

    Raises:
        ConfigError: the run has the seed of a trial.
    """
    tuning = config.study.tuning if config.study else None
    if tuning and config.seed in tuning.seeds:
        raise ConfigError(
            f"seed={config.seed} is not allowed, because study.tuning.seeds has it; give another seed"
        )


def make_trials(config: Config, starts: Mapping[int, Runs] = MappingProxyType({})) -> list[Config]:
    """Return the trials for the arm of a run, which do not depend on its seed; none if there is no tuning.

    Args:
        config: the run.
        starts: for each seed of the trials, the runs of the earlier stage from which its trials start. Trials
            with another seed start like the run.
    """
    study = config.study
    if study is None or study.tuning is None:
        return []
    tuning, rates = study.tuning, config.optimizer.arguments
    study = dataclasses.replace(study, trial=True)
    return [
        dataclasses.replace(
            _with_rates(
                start_at(config, starts.get(seed)),
                rates["learning_rate"] * first,
                rates["weight_decay"] * second,
            ),
            seed=seed,
            study=study,
        )
        for first, second in itertools.product(tuning.learning_rate, tuning.weight_decay)
        for seed in tuning.seeds
    ]


def start_at(config: Config, runs: Runs | None) -> Config:
    """Return the configuration of a run that starts from runs of an earlier stage.

    A network starts from the parameters of the run, or has it as its teacher if the loss is `distillation`. A
    file is made of all the runs, and its configuration says how they were trained.

    Args:
        config: the configuration.
        runs: the runs; `None` changes nothing.
    """
    if runs is None:
        return config
    (folder, first), *_ = runs.items()
    if config.study is not None and config.compress is not None:
        compress = dataclasses.replace(config.compress, runs=tuple(map(str, runs)))
        study = dataclasses.replace(config.study, compress=compress)
        training = dataclasses.replace(first.training, runs_per_program=1)
        return dataclasses.replace(first, seed=config.seed, study=study, training=training)
    if config.loss.name == "distillation":
        arguments = config.loss.arguments | {"teacher": str(folder)}
        return dataclasses.replace(config, loss=Named("distillation", tuple(sorted(arguments.items()))))
    return dataclasses.replace(config, init_from=dataclasses.replace(config.init_from, run=str(folder)))


def choose_rates(config: Config, trials: Iterable[Run]) -> Config:
    """Return the run with the rates whose trials have the best mean accuracy, then the lowest mean loss.

    Both are measured on the validation split. Rates whose trials did not all complete are not chosen. If that
    excludes all rates, the run keeps its own.
    """
    by_rates: dict[tuple[float, float], list[Run]] = {}
    for trial in trials:
        optimizer = trial.config["optimizer"]
        by_rates.setdefault((optimizer["learning_rate"], optimizer["weight_decay"]), []).append(trial)
    scores = {
        rates: (fmean(accuracy for accuracy, _ in validation), fmean(-loss for _, loss in validation))
        for rates, runs in by_rates.items()
        if len(validation := [pair for run in runs if (pair := _validation(run))]) == len(runs)
    }
    return _with_rates(config, *max(scores, key=lambda rates: scores[rates])) if scores else config


def _validation(run: Run) -> tuple[float, float] | None:
    """Return the validation accuracy and loss of a trial, or `None` if it did not complete."""
    accuracy, loss = run.outcome.validation_accuracy, run.outcome.validation_loss
    return None if accuracy is None or loss is None or run.status != "completed" else (accuracy, loss)


def _with_rates(config: Config, learning_rate: float, weight_decay: float) -> Config:
    rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    items = config.optimizer.arguments | {key: float(f"{rate:.6g}") for key, rate in rates.items()}
    optimizer = Named(config.optimizer.name, tuple(sorted(items.items())))
    return dataclasses.replace(config, optimizer=optimizer)


def _trial_folder(folder: Path, trial: Config) -> Path:
    return folder.parent / TRIALS / trial.run_name()
