import numpy as np
import pytest

from research.frameworks.base import FRAMEWORKS
from research.studies.published import CLAIMS, PUBLISHED, Claim, judge, study_verdicts, verdict_table
from research.studies.report.section import make_sections
from research.studies.results import read_studies
from research.studies.study import Study

A_OVER_B = Claim("a > b", (("a", "b"),))
FASTER = Claim("a is faster", (("a", "b"),), "seconds")


def verdict(differences, claim=A_OVER_B):
    b = dict.fromkeys(range(len(differences)), 0.9)
    a = {seed: 0.9 + d for seed, d in enumerate(differences)}
    (judgement,) = judge([claim], {"accuracy": {"a": a, "b": b}, "seconds": {"a": a, "b": b}})
    return judgement.verdict


@pytest.mark.parametrize(
    ("mean", "noise", "n", "expected"),
    [
        (0.01, 0.001, 8, "supported"),
        (-0.01, 0.001, 8, "not supported"),
        (0.0, 0.0002, 8, "not supported"),  # no advantage of 0.1 points is left in the interval
        (0.0, 0.004, 8, "not decidable at this n"),
        (0.01, 0.001, 5, "not decidable at this n"),  # 2^-4 > 0.05
        (-0.01, 0.001, 5, "not decidable at this n"),
        (0.01, 0.001, 0, "not decidable at this n"),
    ],
)
def test_verdicts(mean, noise, n, expected):
    noise = noise * np.resize([1.0, -1.0], n)
    assert verdict(list(mean + noise)) == expected


def test_of_seconds_the_fewer_are_the_better():
    assert verdict([-0.3] * 4 + [-0.31] * 4, FASTER) == "supported"
    assert verdict([0.3] * 4 + [0.31] * 4, FASTER) == "not supported"


def test_a_claim_is_the_conjunction_of_its_comparisons():
    seeds = range(8)
    noise = 0.001 * np.sin(np.arange(8))
    arms = {
        name: {s: mean + noise[s] * k for s in seeds}
        for k, (name, mean) in enumerate([("a", 0.95), ("b", 0.93), ("c", 0.9), ("d", 0.94)], start=1)
    }
    chain = Claim("a > b > c", (("a", "b"), ("b", "c")))
    broken = Claim("a > b > d", (("a", "b"), ("b", "d")))
    absent = Claim("a > b > e", (("a", "b"), ("b", "e")))
    verdicts = [j.verdict for j in judge([chain, broken], {"accuracy": arms})]
    assert verdicts == ["supported", "not supported"]
    (judgement,) = judge([absent], {"accuracy": arms})
    assert judgement.verdict == "not decidable at this n"
    assert [c.advantage.n for c in judgement.comparisons] == [8, 0]


def test_all_comparisons_of_a_study_are_one_family():
    """One comparison can be decided with six seeds, seven of them cannot."""
    arms = {
        name: {s: 0.9 + 0.01 * i + 0.001 * np.sin(s * i) for s in range(6)}
        for i, name in enumerate("abcdefgh")
    }
    one = Claim("b > a", (("b", "a"),))
    seven = Claim("in order", tuple(zip("bcdefgh", "abcdefg", strict=True)))
    assert judge([one], {"accuracy": arms})[0].verdict == "supported"
    assert judge([one, seven], {"accuracy": arms})[0].verdict == "not decidable at this n"


@pytest.mark.parametrize("name", CLAIMS)
def test_every_published_arm_is_of_the_study(name):
    arms = set(FRAMEWORKS) if name == "frameworks" else set(Study.from_conf(name).arms)
    assert all(better != worse for claim in CLAIMS[name] for better, worse in claim.pairs)
    assert {arm for claim in CLAIMS[name] for pair in claim.pairs for arm in pair} <= arms
    assert all(any(arm.startswith(published) for arm in arms) for published in PUBLISHED[name])


def test_a_report_on_mnist_holds_the_verdicts_and_one_on_digits_does_not(tmp_path, write, make_plan):
    for data in ("mnist", "digits"):
        for depth, accuracy in ((1, 0.93), (2, 0.96), (3, 0.961), (4, 0.9)):
            for seed in range(8):
                study = make_plan(f"depth {depth}", [f"depth {d}" for d in (1, 2, 3, 4)])
                shifted = accuracy + 0.001 * np.sin(seed * depth)
                write(tmp_path / data / f"{depth}{seed}", study, seed, shifted, data=data)
    (mnist,) = read_studies(tmp_path / "mnist")
    (row,) = study_verdicts(mnist).rows
    assert row[:3] == ("2-3 layers are the optimum", "supported", "8")
    assert row[3].count("points [") == 4
    headings = [part.heading for part in make_sections([mnist], tmp_path, tmp_path)[0].results]
    assert {"Published claims", "Beside the published figures"} <= set(headings)
    (digits,) = read_studies(tmp_path / "digits")
    assert not study_verdicts(digits)
    assert str(verdict_table([])).startswith("published claim")
