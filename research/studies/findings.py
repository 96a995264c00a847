"""The findings of studies in sentences, from their statistics alone.

Every sentence that says what a study found, in a report, on the terminal or on the page of claims, is made
here. `docs/explanations/claims.md` lists the rules.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from research.frameworks.base import STUDY as FRAMEWORKS
from research.studies.power_law import describe_power_law, fit_power_law
from research.studies.report.text_table import counts_in_words, percent, points_interval
from research.studies.results import NOT_INSTALLED, StudyResults
from research.studies.search import best_outcome, outcomes
from research.studies.statistics import Contrast, Summary, compare, is_testable, seeds_needed

FOUND = "What was found"
"""The heading above findings."""
NO_REFERENCE = "No reference arm was named before the runs, so the arms are described and not compared."
"""The sentence on a study that has no contrasts."""
FOLDS_IN_TIME = (
    "The folds follow the time, so they are no random parts of the images, and no difference is claimed."
)
"""The sentence on a cross-validation with `data.time`."""


class Finding(NamedTuple):
    """A sentence, and the title of the study that it is about."""

    title: str
    sentence: str


def findings(study: StudyResults) -> list[str]:
    """Return what was found in a study, the most important sentence first.

    A difference is named only if its verdict is `higher` or `lower`; the largest one comes first. Then come
    the contrasts in which no difference was shown, and the runs that did not complete. If no contrast has
    enough seeds, the study is called descriptive, and only its highest and its lowest mean are named.

    Args:
        study: the runs, grouped into arms.
    """
    if study.search:
        return _best_trial(study)
    contrasts, law = study.contrasts, fit_power_law(study)
    laws = [] if law is None else [describe_power_law(law)]
    if all(contrast.verdict == "descriptive only" for contrast in contrasts.values()):
        return [*laws, *_description(study), *_not_completed(study)]
    times, reference = _time_contrasts(study), study.reference
    return [
        *laws,
        *(
            f"{arm} has a {contrast.verdict} test accuracy than {reference}: "
            f"{in_points(contrast.difference)} over {contrast.difference.n} {study.replicates}."
            for arm, contrast in _decided(contrasts)
        ),
        *(
            f"{arm} takes {as_factor(contrast.difference)} as long to train as {reference}, over "
            f"{contrast.difference.n} seeds."
            for arm, contrast in _decided(times)
        ),
        *_not_shown("test accuracy", study, contrasts, lambda x: f"±{_rounded_up(100 * x)} points"),
        *_not_shown("training time", study, times, lambda x: f"a factor of {_rounded_up(np.exp(x))}"),
        *_too_few_pairs(study),
        *_not_completed(study),
    ]


def headlines(studies: Sequence[StudyResults], limit: int = 5) -> list[Finding]:
    """Return the most important findings of several studies, in the order of the studies.

    Every study has its first sentence before any study has its second one.

    Args:
        studies: the studies.
        limit: the largest number of findings.
    """
    ranked = [
        (rank, place, Finding(title_in_words(study), sentence))
        for place, study in enumerate(studies)
        for rank, sentence in enumerate(findings(study))
    ]
    chosen = sorted(ranked)[:limit]
    return [finding for _, _, finding in sorted(chosen, key=lambda each: (each[1], each[0]))]


def title_in_words(study: StudyResults) -> str:
    """Return the title of a study as words, such as "Batch size" for a study that is named "batch_size"."""
    name = study.name or study.title
    words = name.replace("_", " ").replace("-", " ")
    return words[:1].upper() + words[1:] + study.title.removeprefix(name)


def too_few_seeds(num_contrasts: int, num_seeds: int) -> str:
    """Return one sentence if a study has fewer seeds than its contrasts need; "" otherwise.

    Args:
        num_contrasts: number of arms other than the reference arm.
        num_seeds: number of seeds that every arm has.

    Example:
        >>> too_few_seeds(3, 5)
        'This study is descriptive: 3 contrasts need 7 seeds, and there are 5, so no difference is claimed.'
    """
    if num_contrasts == 0 or is_testable(num_contrasts, num_seeds):
        return ""
    return (
        f"This study is descriptive: {num_contrasts} contrast{'s need' if num_contrasts > 1 else ' needs'} "
        f"{seeds_needed(num_contrasts)} seeds, and there {'is' if num_seeds == 1 else 'are'} {num_seeds}, "
        "so no difference is claimed."
    )


def in_points(difference: Summary) -> str:
    """Return a paired difference of accuracies in percentage points, with its interval.

    Example:
        >>> in_points(Summary(8, -0.05, 0.01, -0.06, -0.04))
        '-5.00 points [-6.00, -4.00]'
    """
    return f"{100 * difference.mean:+.2f} points {points_interval(difference)}"


def as_factor(difference: Summary) -> str:
    """Return a paired difference of log(seconds) as a factor of the seconds, with its interval.

    Example:
        >>> as_factor(Summary(8, 0.0, 0.1, -0.1, 0.1))
        '1.00 times [0.90, 1.11]'
    """
    mean, low, high = (f"{np.exp(x):.2f}" for x in (difference.mean, difference.low, difference.high))
    return f"{mean} times [{low}, {high}]"


def log_ratios(seconds: Mapping[Any, float], others: Mapping[Any, float]) -> list[float]:
    """Return log(seconds / others) for each seed that both have, the differences that `as_factor` describes.

    Example:
        >>> log_ratios({0: 3.0, 1: 2.0}, {1: 2.0, 2: 5.0})
        [0.0]
    """
    return [float(np.log(seconds[seed] / others[seed])) for seed in sorted(seconds.keys() & others)]


def and_list(names: Sequence[str]) -> str:
    """Return names as a list in words.

    Example:
        >>> and_list(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _decided(contrasts: Mapping[str, Contrast]) -> list[tuple[str, Contrast]]:
    """Return the contrasts in which a difference may be claimed, the largest difference first."""
    decided = [item for item in contrasts.items() if item[1].verdict in ("higher", "lower")]
    return sorted(decided, key=lambda item: -abs(item[1].difference.mean))


def _not_shown(
    what: str, study: StudyResults, contrasts: Mapping[str, Contrast], within: Callable[[float], str]
) -> list[str]:
    """Return one sentence on the contrasts in which no difference was shown, with their widest interval."""
    found = {arm: c.difference for arm, c in contrasts.items() if c.verdict == "no difference shown"}
    equal = [arm for arm, difference in found.items() if difference.low == difference.high == 0]
    found = {arm: difference for arm, difference in found.items() if arm not in equal}
    same = []
    if equal:
        same = [f"The {what} of {and_list(equal)} equals that of {study.reference} for every seed."]
    if not found:
        return same
    widest = max(abs(bound) for difference in found.values() for bound in (difference.low, difference.high))
    interval = "every 95 % interval lies" if len(found) > 1 else "the 95 % interval lies"
    return [
        f"No difference in {what} from {study.reference} was shown for {and_list([*found])}; {interval} "
        f"within {within(widest)}.",
        *same,
    ]


def _rounded_up(value: float) -> str:
    """Return a bound with two decimals that is not below the value."""
    return f"{math.ceil(round(100 * value, 6)) / 100:.2f}"


def _too_few_pairs(study: StudyResults) -> list[str]:
    contrasts = study.contrasts
    few = [arm for arm, c in contrasts.items() if c.verdict == "descriptive only" and c.difference.n]
    if not few or study.overlap:
        return []
    return [
        f"{and_list(few)} {'have' if len(few) > 1 else 'has'} too few completed pairs for a claim: "
        f"{seeds_needed(len(contrasts))} are needed."
    ]


def _time_contrasts(study: StudyResults) -> dict[str, Contrast]:
    """Return the contrasts of log(seconds of training); only the study of frameworks asks for them."""
    reference = next((arm for arm in study.arms if arm.name == study.reference), None)
    if study.name != FRAMEWORKS or reference is None:
        return {}
    arms = [arm for arm in study.arms if arm.name in study.contrasts]
    return compare({arm.name: log_ratios(arm.train_seconds, reference.train_seconds) for arm in arms})


def _description(study: StudyResults) -> list[str]:
    """Return the sentences on a study that can claim nothing: why, and its highest and lowest mean."""
    if study.reference is None:
        why = [NO_REFERENCE]
    else:
        pairs = [contrast.difference.n for contrast in study.contrasts.values()]
        why = [too_few_seeds(len(pairs), max(pairs))] if pairs else []
        if study.overlap:
            why = [FOLDS_IN_TIME if np.isinf(study.overlap) else "A single fold cannot be compared."]
    means = {arm.name: arm.summary.mean for arm in study.arms if arm.summary.n}
    if not means:
        return why
    high, low = max(means, key=lambda arm: means[arm]), min(means, key=lambda arm: means[arm])
    if len(means) == 1:
        return [*why, f"The mean test accuracy of {high} is {percent(means[high])} %."]
    return [
        *why,
        f"The highest mean test accuracy is {percent(means[high])} % ({high}), and the lowest is "
        f"{percent(means[low])} % ({low}).",
    ]


def _not_completed(study: StudyResults) -> list[str]:
    """Return the sentences on the runs that did not complete; nothing if all of them did."""
    absent = [arm.name for arm in study.arms if arm.not_completed[NOT_INSTALLED]]
    tried = [arm for arm in study.arms if arm.name not in absent]
    said = []
    if absent:
        was, it_is = ("were", "they are") if len(absent) > 1 else ("was", "it is")
        said = [f"{and_list(absent)} {was} not measured, because {it_is} not installed."]
    counts = sum((arm.not_completed for arm in tried), Counter[str]())
    if not counts:
        return said
    total = counts.total() + sum(len(arm.completed) for arm in tried)
    none = [arm.name for arm in tried if not arm.completed]
    among = f", among them every run of {and_list(none)}" if none else ""
    return [f"{counts.total()} of {total} runs did not complete ({counts_in_words(counts)}){among}.", *said]


def _best_trial(study: StudyResults) -> list[str]:
    """Return one sentence on the best trial of a search."""
    best = best_outcome(study)
    if best is None:
        return [f"None of the {len(outcomes(study))} trials completed."]
    values = ", ".join(f"{key}={value}" for key, value in best.trial.params.items())
    return [
        f"The best validation accuracy of {len(outcomes(study))} trials is {percent(best.accuracy or 0)} %, "
        f"with {values}."
    ]
