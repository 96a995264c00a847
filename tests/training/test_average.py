"""Averages of the parameters over steps and epochs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.training.average import ema, swa
from research.training.losses import cross_entropy
from research.training.optimizers import make_optimizer
from research.training.schedules import constant
from research.training.state import Batch, eval_params, init_state
from research.training.step import make_train_step


def averages(weight, values):
    mean, found = 0.0, []
    for step, value in enumerate(values, start=1):
        w = float(weight(jnp.int32(step)))
        mean = w * value + (1 - w) * mean
        found.append(mean)
    return found


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 0.99999])
def test_ema_is_the_normalised_sum_of_decaying_weights(decay):
    values = np.random.default_rng(0).normal(size=20)
    for t, mean in enumerate(averages(ema(decay), values), start=1):
        weights = np.float64(decay) ** np.arange(t - 1, -1, -1)
        np.testing.assert_allclose(mean, (weights * values[:t]).sum() / weights.sum(), rtol=1e-5)


def test_swa_is_the_mean_of_the_last_parameters_of_the_epochs():
    values = np.random.default_rng(0).normal(size=15)
    found = averages(swa(2, 3), values)
    np.testing.assert_allclose(found[:6], values[:6])  # the second epoch ends with step 6
    np.testing.assert_allclose(found[6:8], values[5])
    np.testing.assert_allclose(found[8], values[[5, 8]].mean(), rtol=1e-6)
    np.testing.assert_allclose(found[14], values[[5, 8, 11, 14]].mean(), rtol=1e-6)


def test_a_step_averages_the_new_parameters_and_the_model_state_which_are_evaluated(net, preprocess, digits):
    optimizer = make_optimizer("sgd", constant(9))
    state = init_state(net, optimizer, jax.random.key(0), (1, 8, 8, 1), averaged=True)
    step = jax.jit(make_train_step(net, optimizer, cross_entropy, preprocess, average_weight=ema(0.5)))
    batch = Batch(digits.train.images[:16], digits.train.labels[:16])
    seen = []
    for _ in range(3):
        state, _ = step(state, batch)
        seen.append(np.asarray(state.params["logits"]["kernel"], np.float64))
    expected = (seen[0] + 2 * seen[1] + 4 * seen[2]) / 7
    params, model_state = eval_params(state)
    np.testing.assert_allclose(params["logits"]["kernel"], expected, rtol=1e-5, atol=1e-7)
    assert model_state == {}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"ema": 1}, "training.ema=1 is not allowed; give a number, at least 0 and below 1"),
        ({"ema": 0.9, "swa_from": 2}, "training.ema=0.9 is not allowed beside training.swa_from=2; give one"),
        ({"swa_from": 4, "epochs": 3}, "training.swa_from=4 is not allowed; give at most the 3 epochs"),
    ],
)
def test_averages_that_are_refused(training, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_dict({"training": training})
