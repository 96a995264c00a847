"""The parts of a report that only a search over hyper-parameters has: importance of keys, and trials."""

import json
from collections import Counter
from typing import Any

from research.studies.report.text_table import NOTHING, Part, Table, counts_in_words, percent
from research.studies.results import StudyResults
from research.studies.search import best_outcome, importance, outcomes

IMPORTANCE_NOTE = (
    "The importance is PED-ANOVA's: the share of each key in what separates the best tenth of the completed "
    "trials from all completed trials. It says little with fewer than about 20 completed trials."
)
TRIALS_NOTE = (
    "The validation accuracy decides, and no trial reads the test split. The accuracy of a trial that was "
    "given up is that of its last epoch. The best accuracy of many trials is too optimistic: the test "
    "accuracy of a new run with these values says how good they are."
)


def search_parts(study: StudyResults) -> list[Part]:
    """Return the tables of a search; nothing for any other study."""
    if study.search is None:
        return []
    return [
        Part("Importance of the keys", IMPORTANCE_NOTE, importance_table(study)),
        Part("Trials", TRIALS_NOTE, trials_table(study)),
    ]


def search_plan(study: StudyResults) -> str:
    """Return the number of trials and how they ended."""
    found = outcomes(study)
    return f"{len(found)} trials: {counts_in_words(Counter(each.run.status for each in found))}."


def importance_table(study: StudyResults) -> Table:
    """Return a row per key: where it was searched, its best value, and its importance."""
    search, best, shares = study.search, best_outcome(study), importance(study)
    assert search is not None
    rows = [
        (
            key,
            describe(distribution),
            NOTHING if best is None else str(best.trial.params[key]),
            percent(shares[key]) if key in shares else NOTHING,
        )
        for key, distribution in search.space.items()
    ]
    return Table(("key", "searched", "best value", "importance (%)"), rows)


def trials_table(study: StudyResults) -> Table:
    """Return a row per trial, in their order: its values, its accuracy, the best so far, and how it ended."""
    search, rows, best_so_far = study.search, [], 0.0
    assert search is not None
    best = best_outcome(study)
    for number, each in enumerate(outcomes(study), start=1):
        completed = each.run.status == "completed"
        best_so_far = max(best_so_far, each.accuracy or 0.0) if completed else best_so_far
        rows.append(
            (
                str(number),
                *(str(each.trial.params[key]) for key in search.space),
                NOTHING if each.accuracy is None else percent(each.accuracy),
                percent(best_so_far) if best_so_far else NOTHING,
                str(len(each.run.metrics)),
                each.run.status,
                "yes" if best and each.trial is best.trial else "",
                each.trial.run,
            )
        )
    headers = ("validation accuracy (%)", "best so far (%)", "epochs", "status", "best", "folder")
    return Table(("trial", *search.space, *headers), rows)


def describe(distribution: str) -> str:
    """Return the values of a key of the space as text, from Optuna's JSON of its distribution.

    Example:
        >>> describe('{"name": "IntDistribution", "attributes": {"low": 1, "high": 4, "log": false}}')
        '1 to 4'
    """
    attributes: dict[str, Any] = json.loads(distribution)["attributes"]
    if "choices" in attributes:
        return ", ".join(map(str, attributes["choices"]))
    scale = ", logarithmic" if attributes["log"] else ""
    return f"{attributes['low']:g} to {attributes['high']:g}{scale}"
