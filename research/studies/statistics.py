"""Intervals and paired comparisons over the seeds or folds of a study.

Arms share seeds, so arms are compared in pairs. A difference is claimed only if the t interval of the
paired difference and the Holm-adjusted sign-flip test agree, and if there are enough seeds for that test.

The folds of a cross-validation share training images, so their results are not independent. There, the
corrected resampled t test takes the place of both.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

Values = Sequence[float] | np.ndarray
Verdict = Literal["higher", "lower", "no difference shown", "descriptive only"]

ALPHA = 0.05
"""The level of the tests."""

EXACT_LIMIT = 16
"""The largest number of differences for which the sign-flip test counts all patterns."""


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and 95 % interval of ``n`` values; NaN where ``n`` is too small."""

    n: int
    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """A comparison of an arm with the reference arm: paired differences, and what may be claimed.

    Args:
        difference: summary of arm minus reference over the seeds that both completed.
        p: p-value of the sign-flip test.
        p_adjusted: the same after Holm's adjustment over the planned contrasts.
        verdict: what is claimed.
    """

    difference: Summary
    p: float
    p_adjusted: float
    verdict: Verdict


def summarize(values: Values, confidence: float = 0.95, *, overlap: float = 0.0) -> Summary:
    """Return mean, standard deviation (n - 1 in the denominator) and Student-t interval of the mean.

    mean +- t(n - 1, (1 + confidence) / 2) * deviation * sqrt(1 / n + overlap)

    Args:
        values: one number per seed or fold, [n].
        confidence: coverage of the interval, in (0, 1).
        overlap: number of test examples divided by that of training examples if the values are of the folds
            of a cross-validation, and 0 if they are independent.

    Returns:
        The summary. Its mean is NaN if there is no value. Its deviation and interval are NaN if there are
        fewer than two values.

    Example:
        >>> summarize([1.0, 2.0, 3.0]).deviation
        1.0

    Source:
        Student, "The probable error of a mean", Biometrika 6 (1908). For folds: Nadeau and Bengio, "Inference
        for the generalization error", Machine Learning 52 (2003), section 3.
    """
    x = np.asarray(values, np.float64)
    n = x.size
    if n < 2:
        return Summary(n, float(x[0]) if n else np.nan, np.nan, np.nan, np.nan)
    mean, deviation = float(x.mean()), float(x.std(ddof=1))
    half = float(special.stdtrit(n - 1, (1 + confidence) / 2)) * deviation * np.sqrt(1 / n + overlap)
    return Summary(n, mean, deviation, float(mean - half), float(mean + half))


def sign_flip_p(differences: Values, num_samples: int = 100_000, seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of a mean of zero.

    p = share of sign patterns s in {-1, 1}^n with |sum(s * d)| >= |sum(d)|

    For n <= 16, all 2^n patterns are counted. For n > 16, ``num_samples`` random patterns and the observed
    pattern are counted.

    Args:
        differences: paired differences d, one per seed, [n], n >= 1.
        num_samples: number of random patterns for n > 16.
        seed: seed of the random patterns.

    Returns:
        p in (0, 1]; for n <= 16 it is at least 2^(1 - n).

    Raises:
        ValueError: there is no difference.

    Example:
        >>> sign_flip_p([0.1, 0.2, 0.3, 0.4])
        0.125

    Source:
        Fisher, The Design of Experiments (1935), section 21.
    """
    d = np.asarray(differences, np.float64)
    if d.size == 0:
        raise ValueError("the sign-flip test needs at least one difference, got 0")
    # Accuracies are counts over a common total, so equal sums are frequent and must count as equal.
    threshold = abs(d.sum()) - 1e-9 * np.abs(d).sum()
    if d.size <= EXACT_LIMIT:
        sums = d[:1]  # the first sign stays +: a pattern and its mirror have the same |sum|
        for value in d[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= threshold))
    rng = np.random.default_rng(seed)
    count = 0
    for start in range(0, num_samples, 10_000):
        signs = rng.choice([-1.0, 1.0], (min(10_000, num_samples - start), d.size))
        count += int(np.sum(np.abs(signs @ d) >= threshold))
    return (1 + count) / (1 + num_samples)


def corrected_t_p(differences: Values, overlap: float) -> float:
    """Return the two-sided p-value of the corrected resampled t test of a mean of zero.

    t = mean(d) / (deviation(d) * sqrt(1 / n + overlap)), with n - 1 degrees of freedom

    Args:
        differences: paired differences d, one per fold, [n].
        overlap: number of test examples divided by that of training examples.

    Returns:
        p in [0, 1]; 1 for fewer than two differences, or if all are 0.

    Example:
        >>> round(corrected_t_p([0.01, 0.02, 0.03, 0.02, 0.02], overlap=0.25), 4)
        0.0135

    Source:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003), section 3.
    """
    summary = summarize(differences, overlap=overlap)
    if summary.n < 2 or summary.mean == 0:
        return 1.0
    error = summary.deviation * np.sqrt(1 / summary.n + overlap)
    return float(2 * special.stdtr(summary.n - 1, -abs(summary.mean) / error)) if error else 0.0


def holm(p_values: Values, num_planned: int | None = None) -> np.ndarray:
    """Return p-values adjusted by Holm's step-down method.

    adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j)), sorted from the smallest

    Args:
        p_values: p-values in [0, 1], [k].
        num_planned: number of planned contrasts, m >= k; a contrast without data counts as p = 1. The default
            is k.

    Returns:
        Adjusted p-values in the order given, [k].

    Raises:
        ValueError: there are more p-values than planned contrasts.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
        [0.03, 0.06, 0.06]

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    p = np.asarray(p_values, np.float64)
    m = p.size if num_planned is None else num_planned
    if p.size > m:
        raise ValueError(f"{p.size} p-values for {m} planned contrasts")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((m - np.arange(p.size)) * p[order]))
    return adjusted


def is_testable(num_contrasts: int, n: int) -> bool:
    """Return whether the sign-flip test over ``n`` seeds can reach 0.05 after Holm's adjustment.

    m 2^(1 - n) <= 0.05

    Args:
        num_contrasts: number of planned contrasts m.
        n: number of seeds that both arms of a contrast completed.

    Example:
        >>> is_testable(6, 8), is_testable(7, 8), is_testable(1, 5)
        (True, False, False)
    """
    return n > 0 and num_contrasts * 2.0 ** (1 - n) <= ALPHA


def seeds_needed(num_contrasts: int) -> int:
    """Return the smallest number of seeds with which `is_testable` holds.

    Args:
        num_contrasts: number of planned contrasts, at least 1.

    Example:
        >>> [seeds_needed(m) for m in (1, 6, 12, 25)]
        [6, 8, 9, 10]
    """
    return next(n for n in range(1, 100) if is_testable(num_contrasts, n))


def decide(difference: Summary, p_adjusted: float, testable: bool) -> Verdict:
    """Return what may be claimed: a difference only if the interval and the test agree."""
    if not testable:
        return "descriptive only"
    if p_adjusted <= ALPHA and difference.low > 0:
        return "higher"
    if p_adjusted <= ALPHA and difference.high < 0:
        return "lower"
    return "no difference shown"


def compare(
    differences: Mapping[str, Values], num_planned: int | None = None, *, overlap: float = 0.0
) -> dict[str, Contrast]:
    """Judge the planned contrasts of a study together.

    Args:
        differences: the paired differences from the reference arm of each other arm, [n].
        num_planned: number of planned contrasts; the default is the number of arms in ``differences``.
        overlap: number of test examples divided by that of training examples if the differences are of the
            folds of a cross-validation; 0 if they are of seeds; infinite if the folds follow the time. Then
            they are no resamples, and nothing is claimed.

    Returns:
        The contrast of each arm.

    Raises:
        ValueError: there are more contrasts than were planned.

    Example:
        >>> compare({"deep": [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]})["deep"].verdict
        'higher'
    """
    m = len(differences) if num_planned is None else num_planned
    if overlap:
        p_values = [corrected_t_p(d, overlap) if np.isfinite(overlap) else 1.0 for d in differences.values()]
    else:
        p_values = [sign_flip_p(d) if len(d) else 1.0 for d in differences.values()]
    contrasts = {}
    for (name, d), p, adjusted in zip(differences.items(), p_values, holm(p_values, m), strict=True):
        summary = summarize(d, overlap=overlap) if np.isfinite(overlap) else _without_interval(d)
        testable = is_testable(m, summary.n) if not overlap else bool(np.isfinite(overlap)) and summary.n > 1
        verdict = decide(summary, float(adjusted), testable)
        contrasts[name] = Contrast(summary, p, float(adjusted), verdict)
    return contrasts


def _without_interval(values: Values) -> Summary:
    return dataclasses.replace(summarize(values), low=np.nan, high=np.nan)
