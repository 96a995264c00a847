"""The outcome of a search over hyper-parameters, from its records: the trials, and the importance of keys."""

from importlib.util import find_spec
from typing import NamedTuple

from research.records import Run, RunResult
from research.records.search import SearchTrial, make_study
from research.studies.results import StudyResults


class SearchOutcome(NamedTuple):
    """A trial of a search with its run.

    Args:
        trial: the values of the trial.
        run: its run; if there is no folder, a run with the status "missing".
        accuracy: validation accuracy in [0, 1]. If the trial was given up, it is that of its last epoch. It
            is ``None`` before the first epoch ends.
    """

    trial: SearchTrial
    run: Run
    accuracy: float | None


def outcomes(study: StudyResults) -> list[SearchOutcome]:
    """Return the trials of a search in their order; an empty list for any other study."""
    runs, found = {run.path.name: run for run in study.trials}, []
    for trial in study.search.trials if study.search else ():
        folder = study.trials[0].path.parent / trial.run
        run = runs.get(trial.run, Run(folder, {}, result=RunResult("missing", "there is no folder")))
        last = run.metrics[-1]["validation_accuracy"] if run.metrics else None
        kept = run.outcome.validation_accuracy
        found.append(SearchOutcome(trial, run, last if kept is None else kept))
    return found


def best_outcome(study: StudyResults) -> SearchOutcome | None:
    """Return the first completed trial with the best validation accuracy; ``None`` if no trial completed."""
    completed = [each for each in outcomes(study) if each.run.status == "completed"]
    return max(completed, key=lambda each: each.accuracy or 0.0, default=None)


def importance(study: StudyResults) -> dict[str, float]:
    """Return the importance of each key, by PED-ANOVA: its share in what makes the best tenth of trials.

    The shares are in [0, 1] and sum to 1. The dict is empty without Optuna, or if fewer than two trials
    completed.

    Source: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently quantifying hyperparameter importance in
    arbitrary subspaces", IJCAI 2023.
    """
    if study.search is None or find_spec("optuna") is None:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    trials = [study.search.as_optuna(each.trial.params, each.run) for each in outcomes(study)]
    if len({trial.values[0] for trial in trials if trial.values}) < 2:
        return {}
    with make_study(trials) as made:
        return get_param_importances(made, evaluator=PedAnovaImportanceEvaluator())
