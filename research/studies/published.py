"""Figures and claims that were published about MNIST, compared with the records.

The published figures are from single runs, without intervals. A claim consists of comparisons, each of which
is judged over paired seeds. The verdict is computed and never written by hand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from research.studies.findings import as_factor, in_points, log_ratios
from research.studies.report.text_table import NOTHING, Table, percent_interval, percent_spread, points
from research.studies.results import Arm, StudyResults
from research.studies.statistics import ALPHA, Summary, holm, is_testable, sign_flip_p, summarize

DATASET = "mnist"
SeedValues = Mapping[Any, float]
Metric = Literal["accuracy", "seconds"]
ClaimVerdict = Literal["supported", "not supported", "not decidable at this n"]


class Published(NamedTuple):
    """Published figures of an arm: test accuracy in [0, 1], trainable parameters, seconds of training."""

    accuracy: float
    parameters: int | None = None
    seconds: float | None = None


PUBLISHED: dict[str, dict[str, Published]] = {
    "depth": {
        "depth 1": Published(0.932, 15_000),
        "depth 2": Published(0.967, 45_000),
        "depth 3": Published(0.971, 85_000),
        "depth 4": Published(0.969, 125_000),
    },
    "activation": {
        "relu": Published(0.967),
        "leaky_relu": Published(0.971),
        "elu": Published(0.965),
        "tanh": Published(0.923),
    },
    "size": {"reference": Published(0.991, 100_000), "mlp_wide": Published(0.978, 780_000)},
    "frameworks": {
        "numpy": Published(0.850, seconds=45.2),
        "torch": Published(0.987, seconds=12.1),
        "torch_channels_last": Published(0.987, seconds=12.1),
        "keras_jax": Published(0.991, seconds=8.7),
        "keras_torch": Published(0.991, seconds=8.7),
    },
}


@dataclass(frozen=True)
class Claim:
    """A published claim: in every pair the first arm is better, more accurate or faster, than the second."""

    text: str
    pairs: tuple[tuple[str, str], ...]
    metric: Metric = "accuracy"


KERAS_OVER_TORCH_OVER_NUMPY = (("keras_jax", "torch"), ("keras_torch", "torch"), ("torch", "numpy"))
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "depth": (
        Claim(
            "2-3 layers are the optimum",
            (("depth 2", "depth 1"), ("depth 3", "depth 1"), ("depth 2", "depth 4"), ("depth 3", "depth 4")),
        ),
    ),
    "activation": (
        Claim("Leaky ReLU > ReLU > ELU > Tanh", (("leaky_relu", "relu"), ("relu", "elu"), ("elu", "tanh"))),
    ),
    "size": (Claim("a CNN of 100K beats a fully connected 780K", (("reference", "mlp_wide"),)),),
    "frameworks": (
        Claim("accuracy: Keras > PyTorch > NumPy", KERAS_OVER_TORCH_OVER_NUMPY),
        Claim("training time: Keras < PyTorch < NumPy", KERAS_OVER_TORCH_OVER_NUMPY, "seconds"),
    ),
}

MARGINS: dict[Metric, float] = {"accuracy": 0.001, "seconds": float(np.log(1.05))}
"""Smallest advantage that is worth a claim: 0.1 points of accuracy, 5 % of the time (as a log ratio)."""


class Comparison(NamedTuple):
    """The comparison of one pair of a claim.

    Args:
        better: name of the arm that is better according to the claim.
        worse: name of the other arm.
        advantage: summary of the advantage of the first arm over the seeds that both completed: the
            difference of the accuracies, or log(seconds of the other arm / seconds of the first arm).
        p_adjusted: p-value of the sign-flip test after Holm's adjustment.
        verdict: whether the records support the comparison.
    """

    better: str
    worse: str
    advantage: Summary
    p_adjusted: float
    verdict: ClaimVerdict


class Judgement(NamedTuple):
    """A claim and the verdict of the records on it."""

    claim: Claim
    verdict: ClaimVerdict
    comparisons: list[Comparison]


def judge(claims: Iterable[Claim], values: Mapping[Metric, Mapping[str, SeedValues]]) -> list[Judgement]:
    """Judge the claims about a study. Holm's adjustment is over all comparisons of the same metric.

    A comparison is supported if its t interval lies above 0 and its adjusted sign-flip test agrees. It is not
    supported if its whole interval lies below the smallest advantage that is worth a claim (``MARGINS``).
    Otherwise, or if there are too few pairs, it is not decidable. A claim is supported if all its comparisons
    are supported, and not supported if one of them is not supported.

    Args:
        claims: what was published.
        values: the value of each seed by metric and arm; accuracies are in [0, 1], and seconds are above 0.

    Returns:
        The judgement of each claim, in the order of the claims.
    """
    claims = list(claims)
    advantages = {
        (claim.metric, pair): _advantages(claim.metric, *(values[claim.metric].get(arm, {}) for arm in pair))
        for claim in claims
        for pair in claim.pairs
    }
    compared = {}
    for metric in MARGINS:
        family = {pair: a for (its_metric, pair), a in advantages.items() if its_metric == metric}
        p_values = holm([sign_flip_p(a) if len(a) else 1.0 for a in family.values()])
        for (pair, a), p in zip(family.items(), p_values, strict=True):
            advantage = summarize(a)
            testable = is_testable(len(family), advantage.n)
            verdict = _verdict(advantage, float(p), testable, MARGINS[metric])
            compared[metric, pair] = Comparison(*pair, advantage, float(p), verdict)
    judgements = []
    for claim in claims:
        comparisons = [compared[claim.metric, pair] for pair in claim.pairs]
        judgements.append(Judgement(claim, _conjunction([c.verdict for c in comparisons]), comparisons))
    return judgements


def _advantages(metric: Metric, better: SeedValues, worse: SeedValues) -> list[float]:
    if metric == "seconds":
        return log_ratios(worse, better)
    return [better[seed] - worse[seed] for seed in sorted(better.keys() & worse.keys())]


def _verdict(advantage: Summary, p: float, testable: bool, margin: float) -> ClaimVerdict:
    if not testable:
        return "not decidable at this n"
    if advantage.low > 0 and p <= ALPHA:
        return "supported"
    if advantage.high < margin:
        return "not supported"
    return "not decidable at this n"


def _conjunction(verdicts: list[ClaimVerdict]) -> ClaimVerdict:
    for verdict in ("not supported", "not decidable at this n"):
        if verdict in verdicts:
            return verdict
    return "supported"


def study_verdicts(study: StudyResults) -> Table:
    """Return the verdicts on the claims about a study; the table is empty if there are none.

    The tests of claims need independent seeds, so a cross-validation has no verdicts.
    """
    if study.overlap:
        return verdict_table([])
    values: dict[Metric, dict[str, SeedValues]] = {
        "accuracy": {arm.name: arm.accuracies for arm in study.arms},
        "seconds": {arm.name: arm.train_seconds for arm in study.arms},
    }
    return verdict_table(judge(CLAIMS.get(_name(study), ()), values))


def verdict_table(judgements: Iterable[Judgement]) -> Table:
    """Return a row per claim: verdict, seeds, and each comparison with its interval and adjusted p."""
    rows = [
        (
            judgement.claim.text,
            judgement.verdict,
            str(min(c.advantage.n for c in judgement.comparisons)),
            "; ".join(_in_words(c, judgement.claim.metric) for c in judgement.comparisons),
        )
        for judgement in judgements
    ]
    return Table(("published claim", "verdict", "n", "why"), rows)


def _in_words(comparison: Comparison, metric: Metric) -> str:
    better, worse, advantage, p, _ = comparison
    if np.isnan(advantage.low):
        return f"{better} against {worse}: {advantage.n} pair{'s' * (advantage.n != 1)}"
    if metric == "accuracy":
        return f"{better} - {worse}: {in_points(advantage)}, p {p:.3f}"
    return f"{worse} took {as_factor(advantage)} as long as {better}, p {p:.3f}"


def is_published(study: StudyResults) -> bool:
    """Return whether something was published about a study of this name and dataset."""
    return _name(study) in PUBLISHED


def brief_table(study: StudyResults) -> Table:
    """Return a row per arm: a summary of its results, and the published figures of the arm."""
    published = PUBLISHED.get(_name(study), {})
    headers = ("arm", "n", "test accuracy (%)", "95 % interval", f"against {study.reference} (points)")
    headers = (*headers, "claimed", "parameters", "train (s)", "learning rate")
    rows = [_brief_row(study, arm, published.get(arm.name)) for arm in study.arms]
    headers = (*headers, "published accuracy (%)", "published parameters", "published train (s)")
    return Table(headers, rows).without_empty_columns()


def _brief_row(study: StudyResults, arm: Arm, published: Published | None) -> tuple[str, ...]:
    contrast, train = study.contrasts.get(arm.name), arm.seconds("train")
    size = None if published is None else published.parameters
    seconds = None if published is None else published.seconds
    return (
        arm.name,
        str(arm.summary.n),
        percent_spread(arm.summary),
        percent_interval(arm.summary.low, arm.summary.high),
        NOTHING if contrast is None else points(contrast.difference),
        NOTHING if contrast is None else contrast.verdict,
        NOTHING if arm.num_parameters is None else f"{arm.num_parameters:,}",
        f"{np.median(train):.1f}" if train else NOTHING,
        f"{arm.setting('optimizer.learning_rate'):g}" if study.trials and arm.runs else NOTHING,
        NOTHING if published is None else f"{100 * published.accuracy:.1f}",
        NOTHING if size is None else f"{size:,}",
        NOTHING if seconds is None else f"{seconds:.1f}",
    )


def _name(study: StudyResults) -> str:
    """Return the name of a study on MNIST; "" for another dataset, about which nothing was published."""
    on_mnist = all(run.config.get("data", {}).get("name") == DATASET for run in study.runs)
    return str(study.name) if study.runs and on_mnist else ""
