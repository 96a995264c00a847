"""Equal tuning: trials that choose the rates of each arm of a study before its seeds run."""

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

TRIALS = "trials"  # folder of the trials, beside the runs


class TunedSweep:
    """A sweep in which every arm with a tuning plan first runs its trials, as many as any other arm.

    Each pair of rates is tried with each of the plan's seeds; the pair with the best mean validation
    accuracy becomes the arm's, for seeds that no trial had.

    Args:
        worker: train in a worker process, which is replaced if it dies; False trains in this process.
    """

    def __init__(self, *, worker: bool = True) -> None:
        self.retry_failed = True
        self._worker = worker
        self._plan: dict[Path, tuple[Config, list[Config]]] = {}  # by folder: the run and its trials
        self.folders: list[Path] = []
        """The folders of the planned trials and runs; filled by `run`."""

    @staticmethod
    def check(config: Config) -> None:
        """Refuse a run that has the seed of a trial.

        Raises:
            ConfigError: the run has the seed of a trial.
        """
        tuning = config.study.tuning if config.study else None
        if tuning and config.seed in tuning.seeds:
            raise ConfigError(f"seed={config.seed} is a seed of study.tuning.seeds; give seeds no trial has")

    def plan(self, config: Config, folder: Path, starts: Mapping[int, str] | None = None) -> None:
        """Add a run; the same run twice is one run.

        Args:
            config: the run.
            folder: its folder.
            starts: for each seed of the trials the folder of the run that they start from.

        Raises:
            ConfigError: a trial has the seed of the run.
        """
        self.check(config)
        self._plan[folder] = config, make_trials(config, starts or {})

    def run(self, console: Console | None = None) -> int:
        """Run the trials that have no result yet, choose the rates, and run the runs that have no result yet.

        The runs of an arm wait until all its trials have ended; a choice among some of the trials could
        differ from the choice after the next launch.

        Returns:
            Exit code: 0, or that of a run or a trial that failed, was interrupted, or whose process died.
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
    """Return the trials of the arm of a run, the same for all its seeds; none where the study has no tuning.

    Args:
        config: the run.
        starts: for each seed of the trials the folder of the run that they start from; a seed that is not in
            it starts as the run does.
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

    Both are measured on the validation split. Rates with a trial that diverged are not chosen; if no others
    are left, the run keeps its own.
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
    """Return validation accuracy and loss of a completed trial; `None` for any other."""
    accuracy, loss = run.outcome.validation_accuracy, run.outcome.validation_loss
    return None if accuracy is None or loss is None or run.status != "completed" else (accuracy, loss)


def _with_rates(config: Config, learning_rate: float, weight_decay: float) -> Config:
    rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    items = config.optimizer.arguments | {key: float(f"{rate:.6g}") for key, rate in rates.items()}
    optimizer = Named(config.optimizer.name, tuple(sorted(items.items())))
    return dataclasses.replace(config, optimizer=optimizer)


def _trial_folder(folder: Path, trial: Config) -> Path:
    return folder.parent / TRIALS / trial.run_name()
