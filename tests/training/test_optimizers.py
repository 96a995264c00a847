from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.training.optimizers import OPTIMIZERS, make_optimizer, set_rates
from research.training.schedules import SCHEDULES, constant, cosine

PARAMS = {"conv": {"kernel": jnp.array([1.0, -2.0, 3.0]), "bias": jnp.array([0.5])}}
GRADS = {"conv": {"kernel": jnp.array([0.1, 0.2, -0.3]), "bias": jnp.array([4.0])}}

OPTAX = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adagrad": optax.adagrad(0.1),
    "rmsprop": optax.rmsprop(0.1),
    "adam": optax.adam(0.1),
    "adamw": optax.adamw(0.1, weight_decay=0.0),
}


def run(optimizer, steps=5) -> Any:
    params: Any
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_each_equals_optax_of_that_name(name):
    ours = run(make_optimizer(name, constant(5), learning_rate=0.1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, run(OPTAX[name]))


def test_weight_decay_touches_kernels_only_and_is_decoupled_in_adamw():
    decayed = run(make_optimizer("adamw", constant(1), learning_rate=0.1, weight_decay=0.5), 1)
    plain = run(make_optimizer("adamw", constant(1), learning_rate=0.1), 1)
    kernel = PARAMS["conv"]["kernel"]
    np.testing.assert_allclose(decayed["conv"]["kernel"], plain["conv"]["kernel"] - 0.05 * kernel, rtol=1e-5)
    np.testing.assert_array_equal(decayed["conv"]["bias"], plain["conv"]["bias"])


def test_weight_decay_is_added_to_the_gradient_in_the_others():
    decayed = run(make_optimizer("sgd", constant(1), learning_rate=0.1, weight_decay=0.5), 1)
    kernel = PARAMS["conv"]["kernel"]
    expected = kernel - 0.1 * (GRADS["conv"]["kernel"] + 0.5 * kernel)
    np.testing.assert_allclose(decayed["conv"]["kernel"], expected, rtol=1e-6)


def test_clipping_bounds_the_global_norm():
    clipped = run(make_optimizer("sgd", constant(1), learning_rate=1.0, clip_norm=1.0), 1)
    update = jax.tree.map(lambda a, b: a - b, PARAMS, clipped)
    np.testing.assert_allclose(optax.tree.norm(update), 1.0, rtol=1e-5)


def test_learning_rate_and_weight_decay_are_data():
    """One compiled update serves all their values, which is how seeds and rates share a program."""
    traces = []
    program = make_optimizer("adam", cosine(10))

    @jax.jit
    def update(grads, state, params):
        traces.append(1)
        return program.update(grads, state, params)[0]

    updates = []
    for rate in (0.1, 0.2):
        rates = {"learning_rate": jnp.float32(rate), "weight_decay": jnp.float32(0)}
        state = set_rates(program.init(PARAMS), **rates)
        updates.append(update(GRADS, state, PARAMS)["conv"]["bias"])
    assert len(traces) == 1
    np.testing.assert_allclose(updates[1], 2 * updates[0], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_is_a_factor_that_peaks_at_one(name):
    factors = np.array([SCHEDULES[name](100)(step) for step in range(100)])
    assert factors.max() == pytest.approx(1.0, abs=0.01)
    assert factors.min() >= 0
    assert np.isfinite(factors).all()


def test_step_drops_at_equal_distances():
    factors = [float(SCHEDULES["step"](90, drops=2, factor=0.1)(step)) for step in (0, 29, 31, 59, 61, 89)]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_schedules_end_where_they_say():
    assert float(SCHEDULES["exponential"](50, final=0.1)(50)) == pytest.approx(0.1)
    assert float(SCHEDULES["cosine"](50, final=0.2)(50)) == pytest.approx(0.2)
    assert float(SCHEDULES["warmup_cosine"](50, warmup=0.2)(10)) == pytest.approx(1.0)
    assert float(SCHEDULES["warmup_cosine"](50, warmup=0.2)(5)) == pytest.approx(0.5)
    assert float(SCHEDULES["onecycle"](50)(15)) == pytest.approx(1.0)
