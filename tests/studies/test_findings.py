"""Findings of made-up studies, for which the truth is known."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from research.records import Run, RunResult, Seconds
from research.studies.findings import and_list, findings, headlines, title_in_words, too_few_seeds
from research.studies.results import Arm, StudyResults, read_studies

PATTERN = np.array([0.3, -0.5, 0.8, -0.2, 0.6, -0.9, 0.1, -0.2])
"""Noise of 8 seeds with the mean 0."""


def run_of(seed, accuracy, seconds=1.0, status="completed"):
    completed = status == "completed"
    result = RunResult(
        status,
        test_accuracy=accuracy if completed else None,
        seconds=Seconds(0.0, seconds, seconds) if completed else None,
    )
    return Run(Path(str(seed)), {"seed": seed}, result=result)


def made_up(means, num_seeds=8, noise=0.001, name="made_up", seconds=None, absent=(), compared=True):
    """Return a study whose arms have these true means, and noise that is not shared by the arms."""
    arms = []
    for index, (arm, mean) in enumerate(means.items()):
        shifted = mean + noise * np.resize(np.roll(PATTERN, index), num_seeds)
        times = (
            np.full(num_seeds, (seconds or {}).get(arm, 1.0))
            * np.exp(0.01 * np.roll(PATTERN, index))[:num_seeds]
        )
        runs = [run_of(s, float(x), float(t)) for s, (x, t) in enumerate(zip(shifted, times, strict=True))]
        arms.append(Arm(arm, tuple(runs)))
    arms += [Arm(arm, absent=tuple(range(num_seeds))) for arm in absent]
    return StudyResults(name, tuple(arms), name, reference="a" if compared else None)


def interval(values):
    """Return the bounds of the Student-t interval of 8 values whose mean is 0."""
    half = stats.t.ppf(0.975, 7) * np.std(values, ddof=1) / np.sqrt(8)
    return np.array([-half, half])


def test_a_true_difference_is_found_with_its_numbers_the_largest_first():
    study = made_up({"a": 0.9, "b": 0.95, "c": 0.6})
    low, high = -30 + interval(0.1 * (np.roll(PATTERN, 2) - PATTERN))
    first, second = findings(study)
    assert first == (
        f"c has a lower test accuracy than a: -30.00 points [{low:.2f}, {high:.2f}] over 8 seeds."
    )
    assert second.startswith("b has a higher test accuracy than a: +5.00 points [+4.")


def test_what_does_not_differ_is_one_sentence_with_the_widest_interval():
    study = made_up({"a": 0.9, "b": 0.9, "c": 0.9, "d": 0.5})
    lower, equal = findings(study)
    assert lower.startswith("d has a lower test accuracy than a: -40.00 points")
    widest = max(interval(0.1 * (np.roll(PATTERN, shift) - PATTERN))[1] for shift in (1, 2))
    assert equal == (
        "No difference in test accuracy from a was shown for b and c; every 95 % interval lies within "
        f"±{math.ceil(100 * widest) / 100:.2f} points."
    )


@pytest.mark.parametrize("effect", [0.0, 0.001, 0.3])
@pytest.mark.parametrize("num_seeds", [1, 2, 5, 6])
def test_with_too_few_seeds_a_study_is_descriptive_whatever_the_effect(num_seeds, effect):
    said = " ".join(findings(made_up({"a": 0.5, "b": 0.5 + effect, "c": 0.5}, num_seeds)))
    assert said.startswith("This study is descriptive: 2 contrasts need 7 seeds, and there ")
    assert "so no difference is claimed. The highest mean test accuracy is" in said
    assert not {"higher", "lower", "differs"} & set(said.split())


def test_an_undecided_contrast_is_never_called_a_difference():
    rng = np.random.default_rng(0)
    for _ in range(200):
        means = dict(zip("abc", rng.choice([0.9, 0.901, 0.92], 3), strict=True))
        study = made_up(means, noise=float(rng.choice([0.0001, 0.001, 0.01])))
        named = {sentence.split()[0] for sentence in findings(study) if " has a " in sentence}
        verdicts = {arm: contrast.verdict for arm, contrast in study.contrasts.items()}
        assert named == {arm for arm, verdict in verdicts.items() if verdict in ("higher", "lower")}
        said = [sentence for sentence in findings(study) if sentence.startswith("No difference")]
        undecided = [arm for arm in verdicts if arm not in named]
        assert [f" {and_list(undecided)};" in sentence for sentence in said] == [True] * bool(undecided)


def test_equal_accuracies_are_no_difference():
    assert findings(made_up({"a": 0.9, "b": 0.9}, noise=0.0)) == [
        "The test accuracy of b equals that of a for every seed."
    ]


def test_training_time_is_compared_by_the_study_of_frameworks_only():
    means, seconds = dict.fromkeys("abc", 0.9), {"a": 1.0, "b": 3.0, "c": 1.0}
    assert not any("train" in said for said in findings(made_up(means, seconds=seconds)))
    slower, accuracy, time = findings(made_up(means, seconds=seconds, name="frameworks"))
    assert slower.startswith("b takes 3.00 times [2.9")
    assert slower.endswith("as long to train as a, over 8 seeds.")
    assert "test accuracy from a was shown for b and c" in accuracy
    assert time.startswith("No difference in training time from a was shown for c; the 95 % interval lies")
    assert time.endswith("within a factor of 1.01.")


def test_runs_that_did_not_complete_are_counted():
    said = findings(made_up({"a": 0.9, "b": 0.8}, absent=["torch", "keras"]))[-1]
    assert said == "16 of 32 runs did not complete (16 missing), among them every run of torch and keras."
    arms = made_up({"a": 0.9, "b": 0.8, "c": 0.7}).arms
    few = Arm("c", (*arms[2].runs[:3], *(run_of(seed, None, status="diverged") for seed in range(3, 8))))
    found = findings(StudyResults("s", (*arms[:2], few), "s", reference="a"))
    assert found[1:] == [
        "c has too few completed pairs for a claim: 7 are needed.",
        "5 of 24 runs did not complete (5 diverged).",
    ]


def test_what_is_not_installed_is_not_counted_as_a_failure():
    result = RunResult("failed", "not installed; install it with: pip install torch", exit_code=1)
    torch = Arm("torch", tuple(Run(Path(f"t{s}"), {"seed": s}, result=result) for s in range(8)))
    found = findings(StudyResults("s", (*made_up({"a": 0.9, "b": 0.8}).arms, torch), "s", reference="a"))
    assert found[1:] == ["torch was not measured, because it is not installed."]


def test_without_a_reference_arm_nothing_is_claimed():
    first, second = findings(made_up({"a": 0.9, "b": 0.5}, compared=False))
    assert first.startswith("No reference arm was named")
    assert second == "The highest mean test accuracy is 90.00 % (a), and the lowest is 50.00 % (b)."
    one = findings(made_up({"a": 0.9}, compared=False))
    assert one[1:] == ["The mean test accuracy of a is 90.00 %."]


def test_the_headlines_have_a_sentence_of_every_study_first():
    studies = [made_up({"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.9}, name=f"{k}") for k in range(4)]
    assert [title for title, _ in headlines(studies)] == ["0", "0", "1", "2", "3"]
    assert [sentence[0] for _, sentence in headlines(studies)] == list("cbccc")
    assert len(headlines(studies[:1])) == 3


def test_a_title_is_in_words():
    assert title_in_words(StudyResults("batch_size (data.name=mnist)", (), "batch_size")) == (
        "Batch size (data.name=mnist)"
    )
    assert title_in_words(StudyResults("runs without a study", ())) == "Runs without a study"


def test_seeds_that_are_enough_need_no_sentence():
    assert too_few_seeds(6, 8) == too_few_seeds(0, 1) == ""
    assert "1 contrast needs 6 seeds, and there is 1, so" in too_few_seeds(1, 1)


def test_the_order_of_the_studies_in_a_report(tmp_path, write, make_plan):
    for name in ("frameworks", "size", "optimizer", "depth", "activation"):
        write(tmp_path / name, make_plan("depth 2", name=name))
    write(tmp_path / "other", None)
    order = [study.name for study in read_studies(tmp_path)]
    assert order == ["depth", "activation", "optimizer", "size", "frameworks", None]
