"""Search over hyper-parameters: Optuna proposes the values of one trial after the other, and prunes trials.

The records of the trials are the only state of a search. Optuna's study is made from them again for
each trial, so a search that was interrupted continues as if it had never stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from research import records
from research.config import Config, ConfigError, SearchConfig, StudyConfig
from research.records.lock import hold
from research.records.search import SearchRecord, SearchTrial, make_study, read_search, write_search
from research.runs.build import build_data, check
from research.runs.run import configure_jax
from research.runs.spec import program_spec
from research.runs.worker import ThisProcess, Worker
from research.sweeps.sweep import run_recorded, said
from research.training.callback import Callback, EpochMetrics, Position
from research.utils.signals import Received, noticed_signals

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

Space = Mapping[str, Distribution]
MakeConfig = Callable[[Mapping[str, Any]], Config]


class Search:
    """A search for the hyper-parameters with the best validation accuracy.

    No trial reads the test split.

    Args:
        space: Optuna's distribution of each key.
        make_config: returns the configuration with the given values of the keys.
        worker: train in a worker process, which is replaced if it dies; False trains in this process.

    Raises:
        ConfigError: a configuration of the space is not allowed.
    """

    def __init__(self, space: Space, make_config: MakeConfig, *, worker: bool = True) -> None:
        self._space, self._make_config = space, make_config
        self._process = Worker if worker else ThisProcess
        configs = [make_config(params) for params in _corners(space)]
        for config in configs:
            unfit = {
                "distributed": config.distributed.is_on,
                "debug.overfit_batch": config.debug.overfit_batch,
                "data.validation_fraction=0": config.data.validation_fraction == 0,
            }
            for key in [key for key, is_on in unfit.items() if is_on]:
                raise ConfigError(f"{key} is not allowed in a search; leave it out")
            check(config)
        self._base = configs[0]
        self._new = SearchRecord.of(self._base.fingerprint(), space)
        self.name = self._new.name
        """The name; two searches have the same name only if they have the same space and configuration."""
        question = f"Which values of {', '.join(space)} give the best validation accuracy?"
        arm = "trial"
        self._study = StudyConfig(self.name, question, next(iter(space)), arm, (arm,), arm, trial=True)
        self.trials: list[FrozenTrial] = []
        """The trials with their outcomes, in the order of the search; `run` fills this list."""

    @property
    def best(self) -> FrozenTrial | None:
        """The first of the completed trials with the best validation accuracy; `None` if none completed."""
        completed = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return max(completed, key=lambda trial: trial.values[0]) if completed else None

    def run(self, folder: Path, options: SearchConfig, console: Console | None = None) -> int:
        """Run the trials that have not run yet, and print a line for each.

        Args:
            folder: folder of the search; each trial gets a folder in it.
            options: number of trials, and whether they are pruned.
            console: where the lines are printed.

        Returns:
            Exit code: 0; 1 if a trial failed or none completed; 130 or 143 after a signal.

        Raises:
            ConfigError: the folder holds another search, or the configuration does not fit the data.
            DataError: the dataset is missing or damaged.
            LockedError: another process works on the search.
        """
        console = console or Console(highlight=False, soft_wrap=True)
        self.trials = []
        run_one = partial(run_trial, self.trials if options.prune else None)
        with noticed_signals(lambda number: None) as received, self._process(received) as process:
            if read_search(folder) is None:  # nothing is on disk yet, and the data may not fit
                process.call(check_with_data, self._base)
            with hold(folder):
                record = read_search(folder) or replace(self._new, trials=[])
                if record.name != self.name:
                    raise ConfigError(f"{folder} holds another search, {record.name}; give another folder")
                for number in range(options.trials):
                    if number == len(record.trials):
                        record.trials.append(self._propose(number))
                        write_search(folder, record)
                    trial = record.trials[number]
                    run = folder / trial.run
                    if not records.is_finished(run):
                        config = self._config(trial.params)
                        records.write_config(run, config.to_dict())
                        outcome = process.run(run_one, {run: config})[run]
                        line = f"[{number + 1}/{options.trials}] {' '.join(as_words(trial.params))}"
                        console.print(f"{line}  {outcome.status}  {said(outcome)}", markup=False)
                    if (signal := received()) is not None:
                        return 128 + signal
                    self.trials.append(record.as_optuna(trial.params, records.read_run(run)))
        return int(self.best is None or any(trial.state == TrialState.FAIL for trial in self.trials))

    def _propose(self, number: int) -> SearchTrial:
        with make_study(self.trials, self._base.seed + number) as study:
            proposed = study.ask({**self._space}).params
            params = {key: _rounded(value, self._space[key]) for key, value in proposed.items()}
        return SearchTrial(params, self._config(params).run_name())

    def _config(self, params: Mapping[str, Any]) -> Config:
        return replace(self._make_config(params), study=self._study)


def check_with_data(config: Config) -> None:
    """Load the data of a configuration, and raise an error if the configuration does not fit the data."""
    configure_jax(config)
    program_spec(config, build_data(config.data))


class Pruning(Callback):
    """Gives up a run whose best validation accuracy so far is below the median of the earlier trials.

    Args:
        earlier: the earlier trials.
    """

    def __init__(self, earlier: Sequence[FrozenTrial]) -> None:
        with make_study(earlier) as study:
            self._trial = study.ask()

    def on_start(self, position: Position, num_steps: int) -> None:
        """Report the epochs before the one at which training begins."""
        for line in position.history:
            self.on_epoch(line)

    def on_epoch(self, metrics: EpochMetrics) -> str | None:
        """Report the validation accuracy, and return a text if the run is to be given up."""
        accuracy = metrics.validation_accuracy
        assert accuracy is not None  # `Search` refuses a run without a validation split
        self._trial.report(accuracy, metrics.epoch)
        reason = f"pruned after epoch {metrics.epoch}, validation accuracy {accuracy:.4f}"
        return reason if self._trial.should_prune() else None


def run_trial(
    earlier: Sequence[FrozenTrial] | None, runs: Mapping[Path, Config], received: Received | None = None
) -> dict[Path, records.RunResult]:
    """Run one trial, and return its result by its folder.

    Args:
        earlier: the earlier trials, which decide whether this one is pruned; `None` prunes nothing.
        runs: the configuration of the trial, by its folder.
        received: returns a signal that came; `None` handles signals here.
    """
    return run_recorded(runs, received, [] if earlier is None else [Pruning(earlier)])


def as_words(params: Mapping[str, Any]) -> list[str]:
    """Return values as the words of a command line.

    Example:
        >>> as_words({"optimizer": "adam", "optimizer.learning_rate": 0.001})
        ['optimizer=adam', 'optimizer.learning_rate=0.001']
    """
    return [f"{key}={value}" for key, value in params.items()]


def _corners(space: Space) -> list[dict[str, Any]]:
    """Return the first value of every key together, and each other end of a key with the first values."""
    ends = {
        key: each.choices if isinstance(each, CategoricalDistribution) else (each.low, each.high)
        for key, each in space.items()
    }
    first = {key: values[0] for key, values in ends.items()}
    return [first, *(first | {key: value} for key, values in ends.items() for value in values[1:])]


def _rounded(value: Any, distribution: Distribution) -> Any:
    """Return a number that is rounded to 4 significant digits, and any other value as it is."""
    if isinstance(distribution, FloatDistribution):
        return min(max(float(f"{value:.4g}"), distribution.low), distribution.high)
    return value
