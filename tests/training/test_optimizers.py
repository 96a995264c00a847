import inspect
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
    "adagrad": optax.adagrad(0.1, initial_accumulator_value=0.0),
    "rmsprop": optax.rmsprop(0.1),
    "adam": optax.adam(0.1),
    "adamw": optax.adamw(0.1, weight_decay=0.0),
}


def run(optimizer, steps=5, params: Any = PARAMS, grads: Any = GRADS) -> Any:
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", sorted(OPTAX))
def test_each_equals_optax_of_that_name(name):
    ours = run(make_optimizer(name, constant(5), learning_rate=0.1, weight_decay=0.0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, run(OPTAX[name]))


def recursion(name, theta, gradient, decay, steps):
    """Return float64 parameters after some steps of the recursion in the docstring of an optimizer."""
    theta, gradient = np.asarray(theta, np.float64), np.asarray(gradient, np.float64)
    rate, m, v = 0.1, np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, steps + 1):
        factor = 0.5 * (1 + np.cos(np.pi * (t - 1) / steps))
        h = gradient if name == "adamw" else gradient + decay * theta
        if name == "sgd":
            update = h
        elif name in ("momentum", "nesterov"):
            m = 0.9 * m + h
            update = m if name == "momentum" else 0.9 * m + h
        elif name == "adagrad":
            v = v + h**2
            update = h / np.sqrt(v + 1e-7)
        elif name == "rmsprop":
            v = 0.9 * v + (1 - 0.9) * h**2
            update = h / np.sqrt(v + 1e-8)
        else:
            m, v = 0.9 * m + (1 - 0.9) * h, 0.999 * v + (1 - 0.999) * h**2
            update = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            update = update + decay * theta if name == "adamw" else update
        theta = theta - rate * factor * update
    return theta


@pytest.mark.parametrize("name", sorted(OPTAX))
def test_each_follows_the_recursion_of_its_docstring(name):
    with jax.enable_x64(True):
        params, grads = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (PARAMS, GRADS))
        ours = run(make_optimizer(name, cosine(7), learning_rate=0.1, weight_decay=0.3), 7, params, grads)
    for leaf, decay in (("kernel", 0.3), ("bias", 0.0)):
        expected = recursion(name, PARAMS["conv"][leaf], GRADS["conv"][leaf], decay, 7)
        np.testing.assert_allclose(ours["conv"][leaf], expected, rtol=1e-6)


CORES = {
    "sgd": optax.identity(),
    "momentum": optax.trace(0.9),
    "nesterov": optax.trace(0.9, nesterov=True),
    "adagrad": optax.scale_by_rss(0.0, 1e-7),
    "rmsprop": optax.scale_by_rms(0.9, 1e-8),
    "adam": optax.scale_by_adam(0.9, 0.999, 1e-8),
    "adamw": optax.scale_by_adam(0.9, 0.999, 1e-8),
}
DEFAULTS = {
    "sgd": (0.1, 0.0),
    "momentum": (0.03, 0.0),
    "nesterov": (0.03, 0.0),
    "adagrad": (0.03, 0.0),
    "rmsprop": (0.001, 0.0),
    "adam": (0.003, 0.0),
    "adamw": (0.003, 0.01),
}
"""Learning rate and weight decay of each optimizer where neither is given."""


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("name", sorted(CORES))
def test_each_has_the_bits_of_its_chain_with_its_default_rates(name, clip_norm):
    def chain(learning_rate, weight_decay):
        mask = {"conv": {"kernel": True, "bias": False}}
        parts = [optax.add_decayed_weights(weight_decay, mask=mask), CORES[name]]
        return optax.chain(
            optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
            *(reversed(parts) if name == "adamw" else parts),
            optax.scale_by_schedule(cosine(5)),
            optax.scale_by_learning_rate(learning_rate),
        )

    learning_rate, weight_decay = DEFAULTS[name]
    expected = run(optax.inject_hyperparams(chain)(learning_rate=learning_rate, weight_decay=weight_decay))
    ours = run(make_optimizer(name, cosine(5), clip_norm=clip_norm))
    jax.tree.map(np.testing.assert_array_equal, ours, expected)
    alone = run(OPTIMIZERS[name](cosine(5), clip_norm=clip_norm))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), alone, expected)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_takes_the_common_arguments_by_keyword(name):
    schedule, *keywords = inspect.signature(OPTIMIZERS[name]).parameters.values()
    assert schedule.name == "schedule"
    assert [keyword.name for keyword in keywords[:3]] == ["learning_rate", "weight_decay", "clip_norm"]
    assert all(keyword.kind is inspect.Parameter.KEYWORD_ONLY for keyword in keywords)


def test_weight_decay_touches_kernels_only_and_is_decoupled_in_adamw():
    decayed = run(make_optimizer("adamw", constant(1), learning_rate=0.1, weight_decay=0.5), 1)
    plain = run(make_optimizer("adamw", constant(1), learning_rate=0.1, weight_decay=0.0), 1)
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


@pytest.mark.parametrize(
    ("arguments", "updates"),
    [({}, [0.1, 0.0707107, 0.0577350]), ({"initial_accumulator": 0.1}, [0.0845154, 0.0645497, 0.0542326])],
)
def test_adagrad_starts_from_an_accumulator_of_zero(arguments, updates):
    """The values are 0.1 * 0.5 / sqrt(v), where v is the first number plus 0.25 for each step."""
    params, grads = {"bias": jnp.zeros(())}, {"bias": jnp.full((), 0.5)}
    optimizer = make_optimizer("adagrad", constant(3), learning_rate=0.1, **arguments)
    values = [float(run(optimizer, steps, params, grads)["bias"]) for steps in range(4)]
    np.testing.assert_allclose(-np.diff(values), updates, rtol=1e-5)


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
    assert float(SCHEDULES["exponential"](50, final=0.1)(49)) == pytest.approx(0.1)
    assert float(SCHEDULES["cosine"](50, final=0.2)(50)) == pytest.approx(0.2)
    assert float(SCHEDULES["warmup_cosine"](50, warmup=0.2)(10)) == pytest.approx(1.0)
    assert float(SCHEDULES["warmup_cosine"](50, warmup=0.18)(4)) == pytest.approx(0.5)
    assert float(SCHEDULES["onecycle"](50)(15)) == pytest.approx(1.0)
