"""Equal tuning: trials that choose the rates of each arm of a study before its seeds run."""

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from rich.console import Console

from research.config import Config, ConfigError, Named
from research.records import FINISHED, Run, read_run
from research.sweeps.sweep import Sweep

TRIALS = "trials"  # folder of the trials, beside the runs


class TunedSweep:
    """A sweep in which every arm with a tuning plan first runs its trials, as many as any other arm.

    Each pair of rates is tried with each of the plan's seeds; the pair with the best mean validation
    accuracy becomes the arm's, for seeds that no trial had.
    """

    def __init__(self) -> None:
        self.retry_failed = True
        self._plan: dict[Path, Config] = {}

    def plan(self, config: Config, folder: Path) -> None:
        """Add a run; the same run twice is one run.

        Raises:
            ConfigError: a trial has the seed of the run.
        """
        tuning = config.study.tuning if config.study else None
        if tuning and config.seed in tuning.seeds:
            raise ConfigError(f"seed={config.seed} is a seed of study.tuning.seeds; give seeds no trial has")
        self._plan[folder] = config

    def run(self, console: Console | None = None) -> int:
        """Run the trials that have no result yet, choose, and run what else has no result yet.

        The runs of an arm wait until all its trials have ended: a choice among some of them would be another
        one after the next launch.

        Returns:
            Exit code: 0, or that of a run or a trial that failed, was interrupted, or whose process died.
        """
        trials, runs = (Sweep(retry_failed=self.retry_failed) for _ in range(2))
        for folder, config in self._plan.items():
            for trial in make_trials(config):
                trials.plan(trial, _trial_folder(folder, trial))
        code = trials.run(console)
        if code >= 128:
            return code
        for folder, config in self._plan.items():
            outcomes = [read_run(_trial_folder(folder, trial)) for trial in make_trials(config)]
            if all(trial.status in FINISHED for trial in outcomes):
                chosen = choose(config, outcomes)
                runs.plan(chosen, folder.with_name(chosen.run_name()))
        return max(code, runs.run(console))


def make_trials(config: Config) -> list[Config]:
    """The trials of the arm of a run, the same for all its seeds; none where the study has no tuning."""
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
        )
        for first, second in itertools.product(tuning.learning_rate, tuning.weight_decay)
        for seed in tuning.seeds
    ]


def choose(config: Config, trials: Iterable[Run]) -> Config:
    """The run with the rates whose trials have the best mean validation accuracy, then the lowest loss.

    Rates with a trial that diverged are not chosen; if no others are left, the run keeps its own.
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
    """Return validation accuracy and loss of a completed trial; ``None`` for any other."""
    accuracy, loss = run.outcome.validation_accuracy, run.outcome.validation_loss
    return None if accuracy is None or loss is None or run.status != "completed" else (accuracy, loss)


def _with_rates(config: Config, learning_rate: float, weight_decay: float) -> Config:
    rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    items = config.optimizer.arguments | {key: float(f"{rate:.6g}") for key, rate in rates.items()}
    optimizer = Named(config.optimizer.name, tuple(sorted(items.items())))
    return dataclasses.replace(config, optimizer=optimizer)


def _trial_folder(folder: Path, trial: Config) -> Path:
    return folder.parent / TRIALS / trial.run_name()
