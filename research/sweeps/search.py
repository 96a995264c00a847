"""Search over hyper-parameters: Optuna proposes the values of one trial after the other, and prunes trials.

The records of the trials are the only state of a search. Optuna's study is made from them again for
each trial, so a search that was interrupted continues as if it had never stopped.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from research import records
from research.config import Config, ConfigError, SearchConfig, StudyConfig
from research.records import RunResult
from research.records.lock import hold
from research.records.search import (
    SearchRecord,
    SearchTrial,
    as_optuna,
    make_study,
    read_search,
    write_search,
)
from research.runs.build import build_data, check
from research.runs.preemption import StopOnSignal, stop_on_signal
from research.runs.run import configure_jax, load_program
from research.runs.spec import program_spec
from research.runs.worker import Worker
from research.sweeps.vectorized import run_safely
from research.training.callback import Callback, EpochMetrics, Position
from research.utils.signals import Received, noticed_signals

DIGITS = 4
"""Number of significant digits of a proposed number."""


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

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        make_config: Callable[[Mapping[str, Any]], Config],
        *,
        worker: bool = True,
    ) -> None:
        self._space, self._make_config, self._worker = dict(space), make_config, worker
        first, *others = _corners(space)
        base = make_config(first)
        for config in (base, *map(make_config, others)):
            check(config)
            if config.data.validation_fraction == 0:
                raise ConfigError(
                    "data.validation_fraction=0 is not allowed in a search, "
                    "which the validation split decides; give a share above 0"
                )
        self._base = base
        self._record_of_space = {key: distribution_to_json(each) for key, each in space.items()}
        identity = json.dumps([base.fingerprint(), self._record_of_space])
        self.name = f"search {hashlib.sha256(identity.encode()).hexdigest()[:8]}"
        """The name; two searches have the same name only if they have the same space and configuration."""
        question = f"Which values of {', '.join(space)} give the best validation accuracy?"
        self._study = StudyConfig(
            self.name, question, next(iter(space)), "trial", ("trial",), "trial", trial=True
        )
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
        with (
            noticed_signals(lambda number: None) as received,
            Worker(received) if self._worker else nullcontext() as worker,
        ):
            if read_search(folder) is None:  # nothing is on disk yet, and the data may not fit
                worker.call(check_with_data, self._base) if worker else check_with_data(self._base)
            with hold(folder):
                record = read_search(folder) or SearchRecord(self.name, self._record_of_space)
                if record.name != self.name:
                    raise ConfigError(f"{folder} holds another search, {record.name}; give another folder")
                for number in range(options.trials):
                    if number == len(record.trials):
                        record.trials.append(self._propose(number))
                        write_search(folder, record)
                    trial = record.trials[number]
                    config, run = self._config(trial.params), folder / trial.run
                    if not records.is_finished(run):
                        records.write_config(run, config.to_dict())
                        work = partial(run_trial, self.trials if options.prune else None)
                        runs = {run: config}
                        outcome = (worker.run(work, runs) if worker else work(runs, received))[run]
                        said = outcome.error or f"validation accuracy {outcome.validation_accuracy:.4f}"
                        values = " ".join(f"{key}={value}" for key, value in trial.params.items())
                        line = f"[{number + 1}/{options.trials}] {values}  {outcome.status}  {said}"
                        console.print(line, markup=False)
                    if (signal := received()) is not None:
                        return 128 + signal
                    self.trials.append(as_optuna(record, trial.params, records.read_run(run)))
        return int(self.best is None or any(trial.state == TrialState.FAIL for trial in self.trials))

    def _propose(self, number: int) -> SearchTrial:
        with make_study(self.trials, self._base.seed + number) as study:
            proposed = study.ask(self._space).params
            params = {key: _rounded(value, self._space[key]) for key, value in proposed.items()}
        return SearchTrial(params, self._config(params).run_name())

    def _config(self, params: Mapping[str, Any]) -> Config:
        return replace(self._make_config(params), study=self._study)


def check_with_data(config: Config) -> None:
    """Load the data of a configuration, and raise an error if the configuration does not fit the data."""
    configure_jax(config)
    program_spec(config, build_data(config))


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
) -> dict[Path, RunResult]:
    """Run one trial, and return its result by its folder.

    Args:
        earlier: the earlier trials, which decide whether this one is pruned; `None` prunes nothing.
        runs: the configuration of the trial, by its folder.
        received: returns a signal that came; `None` handles signals here.
    """
    [(folder, config)] = runs.items()
    configure_jax(config)
    pruning = [] if earlier is None else [Pruning(earlier)]
    with stop_on_signal(folder) if received is None else nullcontext(StopOnSignal(received)) as stop:
        return {folder: run_safely(config, folder, [stop, *pruning], load_program)}


def _corners(space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """Yield the first value of every key together, and then each other end of a key with the first values."""
    ends = {key: _ends(each) for key, each in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    yield first
    for key, values in ends.items():
        yield from ({**first, key: value} for value in values[1:])


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    """Return a number that is rounded to `DIGITS` significant digits, and any other value as it is."""
    if not isinstance(distribution, FloatDistribution):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)
