"""Regularisation around an optimizer: each against its formula."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.training.optimizers import OPTIMIZERS, make_optimizer, set_noise_key
from research.training.optimizers.regularize import regularize
from research.training.schedules import constant

PARAMS: Any = {"conv": {"kernel": jnp.array([[3.0, -1.0], [4.0, 0.0]]), "bias": jnp.array([0.5, -2.0])}}
GRADS: Any = {"conv": {"kernel": jnp.array([[0.3, 0.2], [-0.4, 5.0]]), "bias": jnp.array([4.0, 0.0])}}


def step(params: Any = PARAMS, grads: Any = GRADS, name="sgd", **arguments) -> dict[str, jax.Array]:
    optimizer = make_optimizer(name, constant(1), learning_rate=1.0, weight_decay=0.0, **arguments)
    updates: Any = optimizer.update(grads, optimizer.init(params), params)[0]
    return updates["conv"]


def test_l1_adds_the_signs_of_kernels():
    updates = step(l1=0.5)
    expected = -(GRADS["conv"]["kernel"] + 0.5 * jnp.sign(PARAMS["conv"]["kernel"]))
    np.testing.assert_allclose(updates["kernel"], expected)
    np.testing.assert_allclose(updates["bias"], -GRADS["conv"]["bias"])


def test_l1_and_weight_decay_are_an_elastic_net():
    optimizer = make_optimizer("sgd", constant(1), learning_rate=1.0, weight_decay=0.1, l1=0.5)
    updates: Any = optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)[0]
    kernel = PARAMS["conv"]["kernel"]
    expected = -(GRADS["conv"]["kernel"] + 0.5 * jnp.sign(kernel) + 0.1 * kernel)
    np.testing.assert_allclose(updates["conv"]["kernel"], expected, rtol=1e-6)


def test_gradients_are_clipped_before_the_penalty_is_added():
    norm = float(optax.tree.norm(GRADS))
    updates = step(clip_norm=1.0, l1=0.5)
    expected = -(GRADS["conv"]["kernel"] / norm + 0.5 * jnp.sign(PARAMS["conv"]["kernel"]))
    np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-5)


def test_clip_value_limits_each_number():
    np.testing.assert_allclose(step(clip_value=0.25)["kernel"], [[-0.25, -0.2], [0.25, -0.25]])


def test_clip_agc_limits_each_unit_relative_to_its_parameters():
    kernel, grad = (np.asarray(tree["conv"]["kernel"], np.float64) for tree in (PARAMS, GRADS))
    limit = 0.1 * np.maximum(np.linalg.norm(kernel, axis=0), 1e-3)
    norm = np.linalg.norm(grad, axis=0)
    np.testing.assert_allclose(step(clip_agc=0.1)["kernel"], -grad * np.minimum(1, limit / norm), rtol=1e-5)


def test_max_norm_limits_the_kernel_of_each_channel():
    new = PARAMS["conv"]["kernel"] + step(max_norm=2.0)["kernel"]
    unlimited = np.asarray(PARAMS["conv"]["kernel"] - GRADS["conv"]["kernel"], np.float64)
    norms = np.linalg.norm(unlimited, axis=0)
    np.testing.assert_allclose(new, unlimited * np.minimum(1, 2 / norms), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(step(max_norm=2.0)["bias"], -GRADS["conv"]["bias"])


def test_gradient_noise_has_its_variance_and_depends_on_the_key():
    params = {"kernel": jnp.zeros((100, 100))}
    optimizer = regularize(optax.sgd(1.0), gradient_noise=0.04)
    state = optimizer.init(params)

    def noise(state):
        updates: Any = optimizer.update(params, state, params)[0]
        return np.asarray(updates["kernel"])

    assert noise(state).std() == pytest.approx(0.2, rel=0.03)
    second = optimizer.update(params, state, params)[1]
    assert noise(second).std() == pytest.approx(0.2 / 2**0.275, rel=0.03)
    one, two, again = (noise(set_noise_key(state, jax.random.key(seed))) for seed in (1, 2, 1))
    assert (one == again).all()
    assert not (one == two).any()


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_sam_takes_the_gradient_uphill(name):
    """The loss is the sum of the fourth powers of all parameters."""

    def grad_fn(params, _=0):
        return jax.tree.map(lambda p: 4 * p**3, params)

    optimizer = make_optimizer(name, constant(1), learning_rate=0.1, weight_decay=0.0, sam=0.2)
    grads = grad_fn(PARAMS)
    updates, _ = optimizer.update(grads, optimizer.init(PARAMS), PARAMS, grad_fn=grad_fn)
    norm = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in jax.tree.leaves(grads)))
    uphill = jax.tree.map(lambda p, g: p + 0.2 * g / norm, PARAMS, grads)
    plain = make_optimizer(name, constant(1), learning_rate=0.1, weight_decay=0.0)
    expected, _ = plain.update(grad_fn(uphill), plain.init(PARAMS), PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), updates, expected)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_without_regularisation_the_state_is_that_of_the_optimizer(name):
    none: dict[str, Any] = dict.fromkeys(("clip_value", "clip_agc", "max_norm", "sam"))
    none |= {"gradient_noise": 0.0, "l1": 0.0}
    states = [make_optimizer(name, constant(1), **given).init(PARAMS) for given in ({}, none)]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_decay_all_decays_biases_as_kernels(name):
    """A number that is called a bias decays as one that is called a kernel does without the key."""

    def updates(leaf, weight_decay, **arguments):
        params: Any = {"logits": {leaf: jnp.array([0.5, -2.0])}}
        grads = jax.tree.map(lambda _: jnp.array([4.0, 1.0]), params)
        optimizer = make_optimizer(
            name, constant(1), learning_rate=0.1, weight_decay=weight_decay, **arguments
        )
        new: Any = optimizer.update(grads, optimizer.init(params), params)[0]
        return new["logits"][leaf]

    every = updates("bias", 0.3, decay_all=True)
    np.testing.assert_allclose(every, updates("kernel", 0.3), rtol=1e-6)
    np.testing.assert_array_equal(updates("bias", 0.3), updates("bias", 0.0))
    if name not in ("adam", "adamax", "nadam", "radam", "adagrad", "rmsprop", "prodigy", "lamb"):
        assert not np.allclose(every, updates("bias", 0.0), rtol=1e-3)
