import math

import numpy as np
import pytest

from research.config import Config, ConfigError
from research.sweeps.learning_rate import RangeConfig, RangeTest, find_learning_rate, range_test


def descend(curvature):
    """Return a step on curvature * x**2 / 2, which converges exactly if the rate is below 2 / curvature."""
    x = 1.0

    def step(rate):
        nonlocal x
        loss = curvature * x**2 / 2
        x -= rate * curvature * x
        return loss

    return step


@pytest.mark.parametrize("curvature", [0.5, 40.0])
def test_on_a_quadratic_the_loss_is_lowest_where_descent_stops_converging(curvature):
    rates = RangeConfig(lowest=1e-4 / curvature, highest=1e3 / curvature, steps=200).rates
    test = range_test(descend(curvature), rates)
    step = rates[1] / rates[0]
    assert test.rates[-1] == pytest.approx(2 / curvature, rel=0.6)  # it stops soon after
    assert test.rates[-1] > 2 / curvature
    assert abs(math.log(test.minimum * curvature / 2)) <= 20 * math.log(step)
    # without smoothing, the loss falls fastest where its derivative by log(rate) is most negative
    slopes = np.gradient(test.losses, np.log(test.rates))
    assert abs(math.log(test.steepest / test.rates[int(slopes.argmin())])) <= 3 * math.log(step)


def test_on_a_logistic_curve_the_steepest_descent_is_in_its_middle():
    rates = np.geomspace(1e-5, 10, 121)
    fall = 2.3 - 2 / (1 + np.exp(-3 * (np.log(rates) - math.log(1e-2))))
    test = RangeTest(rates.tolist(), (fall + np.where(rates > 1, rates - 1, 0)).tolist())
    assert test.steepest == pytest.approx(1e-2, rel=0.01)
    assert 0.2 < test.minimum <= 1  # the smoothed loss begins to rise a few steps before the loss does


def test_a_loss_that_diverges_at_once_or_never_falls_is_a_sentence():
    with pytest.raises(ConfigError, match="lowest=1 is not allowed, because the loss diverges after 1 steps"):
        range_test(lambda rate: 1.0 if rate == 1 else math.nan, range(1, 50))
    with pytest.raises(ConfigError, match="does not fall between the learning rates 1 and 49"):
        _ = range_test(lambda rate: 2.3, range(1, 50)).steepest


def test_a_network_is_trained_by_the_steps_of_its_run():
    loss = {"name": "cross_entropy", "class_weights": [2.0] * 10}
    values = {"model": "tiny", "loss": loss, "optimizer": "sgd", "data": {"train_limit": 64}}
    values["training"] = {"batch_size": 16, "xla_optimization_level": 0}
    settings = RangeConfig(lowest=1e-4, highest=1e3, steps=60)
    test = find_learning_rate(Config.from_dict(values), settings)
    again = find_learning_rate(Config.from_dict(values | {"schedule": "exponential"}), settings)
    assert test == again  # the schedule does not count
    plain = find_learning_rate(Config.from_dict(values | {"loss": "cross_entropy"}), settings)
    assert test.losses[0] == pytest.approx(2 * plain.losses[0])
    assert len(test.rates) < 60  # it diverges
    assert 1e-3 < test.steepest < test.minimum < 10
