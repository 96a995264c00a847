"""Each rule of the diagnosis on a curve made to show it, and on one that does not."""

from typing import Any

import numpy as np
import pytest

from research.records import append_metrics, write_arrays, write_config, write_result
from research.records.layer_statistics import find_warnings, write_statistics
from research.records.result import RunResult
from research.studies.diagnosis import ADVICE, diagnose, diagnose_curve, imbalance, steadiness
from research.studies.figures.gradient_flow import gradient_flow
from research.studies.results import read_studies

EPOCHS = np.arange(1, 11)
COSINE = 0.001 * 0.5 * (1 + np.cos(np.pi * (EPOCHS - 0.5) / 10))


def curve(loss, accuracy, gap=0.02, validation_loss=None, rate: Any = COSINE):
    loss, accuracy = np.asarray(loss, float), np.asarray(accuracy, float)
    return {
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": loss if validation_loss is None else np.asarray(validation_loss, float),
        "validation_accuracy": accuracy - gap,
        "learning_rate": np.broadcast_to(rate, loss.shape),
    }


def saturating(end, start=2.3, speed=1.0):
    """A loss that falls exponentially in the summed learning rate, from start to end."""
    place = np.cumsum(COSINE) - COSINE / 2
    return end + (start - end) * np.exp(-speed * 10 * place / place[-1])


GOOD = curve(saturating(0.05), 1 - saturating(0.02, 0.9))
SMALL = curve(saturating(1.1), 0.65 - saturating(0.02, 0.5))
MEMORISED = curve(saturating(0.01), 1 - saturating(0.0, 0.9), gap=0.3)
RISING = curve(saturating(0.01), 1 - saturating(0.0, 0.9), validation_loss=0.5 + 0.05 * abs(EPOCHS - 4))
JUMPING = curve([2.3, 2.0, 2.4, 1.9, 2.2, 1.8, 2.1, 1.7, 1.6, 1.5], np.full(10, 0.4))
STUCK = curve([5.1] + [2.303] * 9, np.full(10, 0.11), gap=0.0)
PLACE = np.cumsum(COSINE) - COSINE / 2
SLOW = curve(2.4 - 0.3 * PLACE / PLACE[-1], 0.1 + 0.3 * PLACE / PLACE[-1])
SLOW_AT_CHANCE = curve(2.4 - 0.01 * PLACE / PLACE[-1], np.full(10, 0.1))


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        (GOOD, set()),
        (SMALL, {"underfitting"}),
        (MEMORISED, {"overfitting"}),
        (RISING, {"overfitting"}),
        (JUMPING, {"rate too high"}),
        (STUCK, {"rate too high"}),
        (SLOW, {"rate too low"}),
        (SLOW_AT_CHANCE, {"rate too low"}),
    ],
    ids=["good", "small", "memorised", "rising", "jumping", "stuck", "slow", "slow at chance"],
)
def test_each_rule_applies_to_the_curve_that_was_made_for_it_alone(found, kinds):
    assert {kind for kind, numbers in diagnose_curve(found, 0.1).items() if numbers} == kinds


def test_the_numbers_are_those_of_the_curve():
    said = diagnose_curve(MEMORISED)["overfitting"]
    assert said == "the training accuracy of 100.0 % is 30.0 points above the validation accuracy of 70.0 %"
    said = diagnose_curve(RISING)["overfitting"]
    assert said is not None
    assert said.endswith("the validation loss rose from 0.5 in epoch 4 to 0.8")


def test_steadiness_does_not_depend_on_the_schedule():
    constant = curve(2.4 - 0.1 * EPOCHS, np.full(10, 0.5), rate=np.float64(0.001))
    assert steadiness(constant) == pytest.approx(1)
    assert steadiness(SLOW) == pytest.approx(1, abs=0.1)
    assert steadiness(GOOD) == pytest.approx(0, abs=0.1)
    assert steadiness(curve([2.0, 1.0], [0.1, 0.2], rate=np.float64(0.001))) is None
    assert diagnose_curve({}) == {}


def test_a_rare_class_that_is_missed_is_an_imbalance():
    labels = np.repeat([0, 1, 2], [90, 80, 10])
    missed = np.where(labels == 2, 0, labels)
    assert imbalance(labels, missed) == (
        "class 2 has at most a third of the images of class 0; 0.0 % of its images are recognised, and "
        "100.0 % of those of class 0"
    )
    assert imbalance(labels, labels) is None  # rare, and recognised
    assert imbalance(np.repeat([0, 1], 50), np.zeros(100, int)) is None  # missed, and not rare


def layer(gradient=1.0, update=0.01, weight=1.0, **more):
    return {"gradient": gradient, "update": update, "weight": weight, "size": 1} | more


def line(epoch=1, **layers):
    return {"epoch": epoch, "step": 10 * epoch, "layers": layers}


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        ([line(a=layer(), act={"dead": 0.1}, b=layer())], []),
        ([line(a=layer(gradient=1e-3), b=layer())], ["vanishing"]),
        ([line(a=layer(gradient=200.0), b=layer(gradient=150.0))], ["exploding"]),
        ([line(a=layer(), act={"dead": 0.6}, b=layer())], ["dead units"]),
        ([line(a=layer(update=0.2), b=layer())], ["large updates"]),
        ([line(a=layer(update=1e-5), b=layer())], ["small updates"]),
        ([line(0, a=layer()), line(a=layer(update=1e-5))], []),  # the end of a schedule
        ([line(a=layer(update=0.0), b=layer())], []),  # not trained
        ([], []),
    ],
    ids=str,
)
def test_each_warning_applies_to_the_statistics_that_were_made_for_it(lines, kinds):
    assert [warning.kind for warning in find_warnings(lines)] == kinds
    assert set(kinds) <= set(ADVICE)


def write(folder, found, status="completed", lines=None, **config):
    write_config(folder, {"seed": 0, "model": {"name": "plain"}, **config})
    (folder / "metrics.jsonl").touch()
    for index in range(len(EPOCHS)):
        values = {key: float(value[index]) for key, value in found.items()}
        append_metrics(folder, {"epoch": index + 1, "step": index + 1} | values)
    labels = np.repeat(np.arange(10), 4)
    write_arrays(folder, {"test_labels": labels, "test_logits": np.eye(10)[labels]})
    if lines:
        write_statistics(folder, lines)
    write_result(folder, RunResult(status, test_accuracy=0.9 if status == "completed" else None))


def test_the_diagnosis_of_runs_on_disk(tmp_path):
    lines = [line(0, a=layer(1e-3), b=layer()), line(1, a=layer(1e-3), b=layer())]
    write(tmp_path / "stuck", STUCK, lines=lines)
    (found, vanishing) = diagnose(read_studies(tmp_path)[0])
    assert (found.kind, found.advice) == ("rate too high", ADVICE["rate too high"])
    assert vanishing.numbers.startswith("up to epoch 1, the gradient vanishes")
    assert vanishing.numbers.endswith("0.001 in a (1 of 1 runs)")
    (study,) = read_studies(tmp_path)
    figure = gradient_flow(study)
    assert figure is not None
    assert [each.get_label() for each in figure.axes[0].lines] == ["epoch 0", "epoch 1"]
    assert [np.asarray(each.get_ydata()).tolist() for each in figure.axes[0].lines] == [[1e-3, 1.0]] * 2


def test_a_diverged_run_had_a_rate_that_is_too_high_and_one_batch_says_nothing(tmp_path):
    write(tmp_path / "good", GOOD)
    assert diagnose(read_studies(tmp_path)[0]) == []
    assert gradient_flow(read_studies(tmp_path)[0]) is None
    write(tmp_path / "bad", GOOD, "diverged", optimizer={"learning_rate": 9.0})
    (found,) = diagnose(read_studies(tmp_path)[0])
    assert (found.kind, found.numbers) == ("rate too high", "1 of 1 runs diverged")
    write(tmp_path / "one" / "batch", MEMORISED, debug={"overfit_batch": 8})
    assert diagnose(read_studies(tmp_path / "one")[0]) == []
