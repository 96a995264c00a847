"""Tuning: equally many trials for each arm of a study choose its learning rate and weight decay."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from rich.console import Console

from research.config import Config, ConfigError, Named
from research.records import FINISHED, Run, read_run
from research.sweeps.sweep import Sweep

TRIALS = "trials"
"""Name of the folder of the trials; it is beside the runs."""


class TunedSweep:
    """A sweep that runs the trials of each arm before the runs.

    A trial has one pair of learning rate and weight decay and one seed of the tuning. The runs of the arm use
    the pair with the best mean validation accuracy, and other seeds than the trials.

    Args:
        worker: train in a worker process, which is replaced if it dies; False trains in this process.
    """

    def __init__(self, *, worker: bool = True) -> None:
        self.retry_failed = True
        self._worker = worker
        self._plan: dict[Path, tuple[Config, list[Config]]] = {}  # by folder: the run and its trials
        self.folders: list[Path] = []
        """The folders of the planned trials and runs; `run` fills this list."""

    @staticmethod
    def check(config: Config) -> None:
        """Refuse a run whose seed is that of a trial.

        Raises:
            ConfigError: the run has the seed of a trial.
        """
        tuning = config.study.tuning if config.study else None
        if tuning and config.seed in tuning.seeds:
            raise ConfigError(
                f"seed={config.seed} is not allowed, because study.tuning.seeds has it; give another seed"
            )

    def plan(self, config: Config, folder: Path, starts: Mapping[int, str] | None = None) -> None:
        """Add a run. A run that is added twice runs once.

        Args:
            config: the run.
            folder: its folder.
            starts: for each seed of the trials, the folder of the run from which they start.

        Raises:
            ConfigError: a trial has the seed of the run.
        """
        self.check(config)
        self._plan[folder] = config, make_trials(config, starts or {})

    def run(self, console: Console | None = None) -> int:
        """Run the trials that have no result yet, choose the rates, and run the runs that have no result yet.

        The runs of an arm are left out until all its trials have ended, because a choice among some of the
        trials could differ from the choice after the next launch.

        Returns:
            Exit code: 0; 1 if a run diverged, failed or its process died; 130 or 143 after a signal.
        """
        trials, runs = (Sweep(retry_failed=self.retry_failed, worker=self._worker) for _ in range(2))
        for folder, (_, trials_of_run) in self._plan.items():
            for trial in trials_of_run:
                trials.plan(trial, _trial_folder(folder, trial))
        self.folders = trials.folders
        code = trials.run(console)
        if code >= 128:
            return code
        for folder, (config, trials_of_run) in self._plan.items():
            outcomes = [read_run(_trial_folder(folder, trial)) for trial in trials_of_run]
            if all(trial.status in FINISHED for trial in outcomes):
                chosen = choose_rates(config, outcomes)
                runs.plan(chosen, folder.with_name(chosen.run_name()))
        self.folders = [*trials.folders, *runs.folders]
        return max(code, runs.run(console))


def make_trials(config: Config, starts: Mapping[int, str] = MappingProxyType({})) -> list[Config]:
    """Return the trials of the arm of a run; they are equal for all seeds. Without tuning there are none.

    Args:
        config: the run.
        starts: for each seed of the trials, the folder of the run from whose parameters they start; other
            seeds start like the run.
    """
    study = config.study
    if study is None or study.tuning is None:
        return []
    tuning, rates = study.tuning, config.optimizer.arguments
    study = dataclasses.replace(study, trial=True)
    return [
        dataclasses.replace(
            _with_rates(config, rates["learning_rate"] * first, rates["weight_decay"] * second),
            seed=seed,
            study=study,
            init_from=starts.get(seed, config.init_from),
        )
        for first, second in itertools.product(tuning.learning_rate, tuning.weight_decay)
        for seed in tuning.seeds
    ]


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
