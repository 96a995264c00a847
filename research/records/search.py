"""The record of a search over hyper-parameters, `search.json`, which is beside the folders of its trials."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.records.run_folder import RecordError, Run
from research.utils.files import seal, unseal, write_atomically

if TYPE_CHECKING:
    import optuna

NAME = "search.json"
"""Name of the file in the folder of a search."""


@dataclass(frozen=True)
class SearchTrial:
    """One trial of a search.

    Args:
        params: the value of each key of the space, as Optuna proposed it.
        run: name of the folder of its run; trials with equal values share a run.
    """

    params: Mapping[str, Any]
    run: str


@dataclass(frozen=True)
class SearchRecord:
    """The space and the trials of a search.

    Args:
        name: name of the search, which its trials have as the name of their study.
        space: Optuna's JSON of the distribution of each key.
        trials: the trials in the order in which they were proposed.
    """

    name: str
    space: Mapping[str, str]
    trials: list[SearchTrial] = field(default_factory=list)

    @classmethod
    def of(
        cls, fingerprint: str, space: "Mapping[str, optuna.distributions.BaseDistribution]"
    ) -> "SearchRecord":
        """Return the record of a new search.

        Two searches have the same name only if they have the same space and configuration.

        Args:
            fingerprint: the fingerprint of the configuration with the first value of each key.
            space: Optuna's distribution of each key.
        """
        from optuna.distributions import distribution_to_json

        as_json = {key: distribution_to_json(each) for key, each in space.items()}
        digest = hashlib.sha256(json.dumps([fingerprint, as_json]).encode()).hexdigest()
        return cls(f"search {digest[:8]}", as_json)

    def as_optuna(self, params: Mapping[str, Any], run: Run) -> "optuna.trial.FrozenTrial":
        """Return a trial of the search with its outcome as Optuna's trial.

        The value of the trial is the validation accuracy, and its intermediate values are those of the
        epochs. A trial that diverged or was stopped has the state PRUNED. A trial that failed has the state
        FAIL, and Optuna ignores it.

        Args:
            params: the value of each key.
            run: the run of the trial.
        """
        from optuna.distributions import json_to_distribution
        from optuna.trial import TrialState, create_trial

        states = {
            "completed": TrialState.COMPLETE,
            "diverged": TrialState.PRUNED,
            "stopped": TrialState.PRUNED,
        }
        return create_trial(
            state=states.get(run.status, TrialState.FAIL),
            value=run.outcome.validation_accuracy,
            params=dict(params),
            distributions={key: json_to_distribution(text) for key, text in self.space.items()},
            intermediate_values={line["epoch"]: line["validation_accuracy"] for line in run.metrics},
        )


def write_search(folder: Path, record: SearchRecord) -> None:
    """Write `search.json`."""
    write_atomically(folder / NAME, seal(asdict(record)).encode())


def read_search(folder: Path) -> SearchRecord | None:
    """Return the record of the search in a folder, or `None` if there is none.

    Raises:
        RecordError: the file is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        values = unseal(path.read_text(encoding="utf-8"))
        trials = [SearchTrial(**trial) for trial in values.pop("trials")]
        return SearchRecord(**values, trials=trials)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


@contextmanager
def make_study(trials: Sequence["optuna.trial.FrozenTrial"], seed: int = 0) -> Iterator["optuna.Study"]:
    """Yield Optuna's study of some trials, without its messages.

    Args:
        trials: the trials.
        seed: seed of the next trial that the study proposes.
    """
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler, pruner = optuna.samplers.TPESampler(seed=seed % 2**32), optuna.pruners.MedianPruner()
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        study.add_trials(trials)
        yield study
    finally:
        optuna.logging.set_verbosity(verbosity)
