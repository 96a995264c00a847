import itertools
import math

import numpy as np
import pytest
from scipy import stats

from research.studies import statistics
from research.studies.statistics import (
    Summary,
    compare,
    decide,
    holm,
    is_testable,
    sign_flip_p,
    summarize,
)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_summary_agrees_with_scipy(n):
    x = np.random.default_rng(n).normal(size=n)
    summary = summarize(x)
    interval = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (summary.n, summary.mean) == (n, pytest.approx(x.mean()))
    assert summary.deviation == pytest.approx(stats.tstd(x))
    assert (summary.low, summary.high) == pytest.approx((interval.low, interval.high))


def test_summary_of_too_few_values():
    assert math.isnan(summarize([]).mean)
    one = summarize([0.5])
    assert (one.n, one.mean) == (1, 0.5)
    assert math.isnan(one.deviation)
    assert math.isnan(one.low)


def test_summary_worked_by_hand():
    # mean 5, squares 9+1+1+9, deviation sqrt(20/3), t(3, 0.975) = 3.182446
    summary = summarize([2, 4, 6, 8])
    assert summary.deviation == pytest.approx(math.sqrt(20 / 3))
    assert summary.high == pytest.approx(5 + 3.182446305 * math.sqrt(20 / 3) / 2)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_sign_flip_counts_every_pattern(n):
    d = np.random.default_rng(n).normal(0.5, 1, n)
    patterns = itertools.product([-1, 1], repeat=n)
    extreme = [abs(np.dot(s, d)) >= abs(d.sum()) - 1e-12 for s in patterns]
    assert sign_flip_p(d) == np.mean(extreme)


def test_sign_flip_agrees_with_scipy():
    d = np.random.default_rng(0).normal(0.4, 1, 10)
    expected = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=2**10)
    assert sign_flip_p(d) == pytest.approx(expected.pvalue)


def test_sign_flip_at_its_limits():
    assert sign_flip_p(np.full(16, 0.1)) == 2.0**-15
    assert sign_flip_p(np.zeros(8)) == 1
    # sums that are equal but for rounding: 0.1 + 0.2 - 0.3 against 0
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1
    with pytest.raises(ValueError, match="at least one"):
        sign_flip_p([])


def test_sign_flip_samples_agree_with_all_patterns(monkeypatch):
    d = np.random.default_rng(3).normal(0.5, 1, 12)
    exact = sign_flip_p(d)
    monkeypatch.setattr(statistics, "EXACT_LIMIT", 11)
    assert sign_flip_p(d) == pytest.approx(exact, abs=0.005)
    assert sign_flip_p(d) == sign_flip_p(d)


def test_sign_flip_samples_beyond_sixteen():
    assert sign_flip_p(np.full(40, 0.1), num_samples=999) == 1 / 1000


def test_holm_by_hand():
    # sorted 0.005 0.01 0.03 0.04 times 4 3 2 1, made monotone
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([0.01], 4) == pytest.approx([0.04])
    assert holm([]).size == 0
    with pytest.raises(ValueError, match="2 p-values for 1"):
        holm([0.1, 0.2], 1)


def test_eight_seeds_allow_six_contrasts():
    assert [m for m in range(1, 20) if is_testable(m, 8)] == [1, 2, 3, 4, 5, 6]
    assert not is_testable(1, 5)
    assert not is_testable(0, 0)


@pytest.mark.parametrize(
    ("low", "high", "p", "testable", "verdict"),
    [
        (0.1, 0.3, 0.03, True, "higher"),
        (-0.3, -0.1, 0.03, True, "lower"),
        (0.1, 0.3, 0.06, True, "no difference shown"),
        (-0.1, 0.3, 0.03, True, "no difference shown"),
        (0.1, 0.3, 0.03, False, "descriptive only"),
    ],
)
def test_a_difference_needs_interval_and_test(low, high, p, testable, verdict):
    assert decide(Summary(8, 0.2, 0.1, low, high), p, testable) == verdict


def test_contrasts_without_data_still_count_as_planned():
    d = np.linspace(0.1, 0.2, 8)
    contrasts = compare({"a": d, "b": []}, num_planned=6)
    assert contrasts["a"].p_adjusted == pytest.approx(6 * 2.0**-7)
    assert contrasts["a"].verdict == "higher"
    assert (contrasts["b"].p, contrasts["b"].verdict) == (1, "descriptive only")
    assert compare({"a": d}, num_planned=7)["a"].verdict == "descriptive only"


@pytest.mark.parametrize("n", [8, 10, 16])
def test_simulated_studies_hold_their_promises(n):
    """2,000 studies of a reference and six arms, the most for eight seeds, none of which differ."""
    num_studies, num_arms = 2000, 6
    rng = np.random.default_rng(n)
    seeds = rng.normal(0, 0.01, (num_studies, 1, n))
    accuracies = 0.9 + seeds + rng.normal(0, 0.005, (num_studies, 1 + num_arms, n))
    covered_mean = covered_difference = false_claims = 0
    for reference, *arms in accuracies:
        summary = summarize(reference)
        covered_mean += summary.low <= 0.9 <= summary.high
        contrasts = compare({str(i): arm - reference for i, arm in enumerate(arms)})
        covered_difference += sum(c.difference.low <= 0 <= c.difference.high for c in contrasts.values())
        false_claims += any(c.verdict in ("higher", "lower") for c in contrasts.values())
    assert 0.93 <= covered_mean / num_studies <= 0.97
    assert 0.93 <= covered_difference / (num_studies * num_arms) <= 0.97
    assert false_claims / num_studies <= 0.06


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    found = sum(compare({"a": rng.normal(0.02, 0.01, 8)})["a"].verdict == "higher" for _ in range(200))
    assert found > 190


def test_the_corrected_resampled_t_test_is_that_of_nadeau_and_bengio():
    d = np.random.default_rng(0).normal(0.02, 0.01, 10)
    # the published statistic, with n_test / n_train = 1 / 9 of a tenfold cross-validation
    t = d.mean() / np.sqrt((1 / 10 + 1 / 9) * d.var(ddof=1))
    contrast = compare({"arm": d}, overlap=1 / 9)["arm"]
    assert contrast.p == pytest.approx(2 * stats.t.sf(t, df=9))
    half = stats.t.ppf(0.975, df=9) * np.sqrt((1 / 10 + 1 / 9) * d.var(ddof=1))
    assert (contrast.difference.low, contrast.difference.high) == pytest.approx(
        (d.mean() - half, d.mean() + half)
    )
    assert contrast.verdict == "higher"
    two = compare({"a": d, "b": np.zeros(10)}, overlap=1 / 9)
    assert two["a"].p_adjusted == pytest.approx(2 * contrast.p)
    assert (two["b"].p, two["b"].verdict) == (1, "no difference shown")
    assert compare({"one": [0.1]}, overlap=1 / 9)["one"].verdict == "descriptive only"
    in_time = compare({"arm": d}, overlap=math.inf)["arm"]
    assert (in_time.p, in_time.verdict, math.isnan(in_time.difference.low)) == (1, "descriptive only", True)


def test_folds_that_agree_exactly_have_no_error():
    assert statistics.corrected_t_p([0.25, 0.25, 0.25], overlap=0.5) == 0
