"""Every backward pass against central differences in float64 and against JAX's gradient."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from research.frameworks.numpy_scratch import layers

generator = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    """Normal numbers, none so near 0 that a difference would step over a kink."""
    values = generator.standard_normal(shape)
    return values + 0.01 * np.sign(values)


def lax_conv(x, kernel, bias, stride=1, padding="SAME"):
    pads = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=numbers) + bias


def jax_pool(reduce, start, x, window=2, stride=2):
    return lax.reduce_window(x, start, reduce, (1, window, window, 1), (1, stride, stride, 1), "VALID")


def jax_batch_norm(x, scale, bias):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return scale * (x - mean) / jnp.sqrt(variance + 1e-5) + bias


def running() -> dict[str, np.ndarray]:
    return {"mean": np.zeros(3), "variance": np.ones(3)}


IMAGE = draw(2, 6, 5, 3)
CONV: dict[str, Any] = {"kernel": draw(3, 3, 3, 4), "bias": draw(4)}
NORM: dict[str, Any] = {"scale": draw(3), "bias": draw(3)}
AVERAGE = partial(jax_pool, lax.add, 0.0)

# name: the layer, the same in JAX, the parameters
CASES = {
    "dense": (
        layers.dense,
        lambda x, kernel, bias: x @ kernel + bias,
        {"kernel": draw(3, 4), "bias": draw(4)},
    ),
    "max_pool": (layers.max_pool, partial(jax_pool, lax.max, -jnp.inf), {}),
    "max_pool 3, stride 1": (
        partial(layers.max_pool, window=3, stride=1),
        partial(jax_pool, lax.max, -jnp.inf, window=3, stride=1),
        {},
    ),
    "average_pool": (layers.average_pool, lambda x: AVERAGE(x) / 4, {}),
    "average_pool 3, stride 2": (
        partial(layers.average_pool, window=3, stride=2),
        lambda x: AVERAGE(x, window=3, stride=2) / 9,
        {},
    ),
    "flatten": (layers.flatten, lambda x: x.reshape(len(x), -1), {}),
    "relu": (layers.relu, jax.nn.relu, {}),
    "leaky_relu": (layers.leaky_relu, jax.nn.leaky_relu, {}),
    "elu": (layers.elu, jax.nn.elu, {}),
    "tanh": (layers.tanh, jnp.tanh, {}),
    "sigmoid": (layers.sigmoid, jax.nn.sigmoid, {}),
    "batch_norm": (
        lambda x, **p: layers.batch_norm(x, running=running(), train=True, **p),
        jax_batch_norm,
        NORM,
    ),
    "batch_norm, running statistics": (
        lambda x, **p: layers.batch_norm(x, running=running(), train=False, **p),
        lambda x, scale, bias: scale * x / jnp.sqrt(1 + 1e-5) + bias,
        NORM,
    ),
    "dropout": (
        lambda x: layers.dropout(x, rate=0.3, generator=np.random.default_rng(1)),
        lambda x: x * (np.random.default_rng(1).random(x.shape, np.float32) >= 0.3) / 0.7,
        {},
    ),
}
for stride, padding in ((1, "SAME"), (1, 1), (2, "SAME"), (2, "VALID"), (2, 2), (3, "VALID")):
    options = {"stride": stride, "padding": padding}
    CASES[f"conv2d {options}"] = (partial(layers.conv2d, **options), partial(lax_conv, **options), CONV)


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def central_differences(function, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        gradient[index] = (function(x + shift) - function(x - shift)) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    layer, in_jax, params = CASES[name]
    arguments = {"x": draw(5, 3) if name == "dense" else IMAGE} | params
    y, backward = layer(arguments["x"], **params)
    dy = draw(*y.shape)
    dx, gradients = backward(dy)
    gradients = {"x": dx} | gradients
    assert gradients.keys() == arguments.keys()

    floats = jax.tree.map(jnp.float32, arguments)
    expected, pullback = jax.vjp(lambda a: in_jax(a["x"], **{k: a[k] for k in params}), floats)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    jax_gradients = pullback(jnp.float32(dy))[0]
    for key, value in arguments.items():

        def loss(changed, key=key):
            inputs = arguments | {key: changed}
            return float((layer(inputs.pop("x"), **inputs)[0] * dy).sum())

        assert gradients[key].shape == value.shape
        assert relative_error(gradients[key], central_differences(loss, value)) < 1e-7
        assert relative_error(gradients[key], jax_gradients[key]) < 1e-5


def test_softmax_cross_entropy_and_its_gradient():
    logits, labels = draw(6, 4), generator.integers(0, 4, 6)
    loss, gradient = layers.softmax_cross_entropy(logits, labels)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(probability[np.arange(6), labels]).mean())
    differences = central_differences(lambda z: layers.softmax_cross_entropy(z, labels)[0], logits)
    assert relative_error(gradient, differences) < 1e-7


def test_nothing_overflows():
    assert np.isfinite(layers.softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))[0])
    with np.errstate(over="raise"):
        assert layers.sigmoid(np.array([-1e4, 1e4]))[0].tolist() == [0, 1]
        assert layers.elu(np.array([-1e4, 1e4]))[0].tolist() == [-1, 1e4]


def test_of_equal_values_the_first_wins_all_of_the_gradient():
    y, backward = layers.max_pool(np.ones((1, 2, 2, 1)))
    assert backward(np.ones_like(y))[0].ravel().tolist() == [1, 0, 0, 0]


def test_col2im_is_the_adjoint_of_im2col():
    patches = layers.im2col(IMAGE, (3, 2), stride=2)
    other = draw(*patches.shape)
    np.testing.assert_allclose((patches * other).sum(), (IMAGE * layers.col2im(other, IMAGE.shape, 2)).sum())


def test_running_statistics_move_towards_those_of_the_batch():
    statistics = running()
    for _ in range(200):
        layers.batch_norm(IMAGE, **NORM, running=statistics, train=True)
    np.testing.assert_allclose(statistics["mean"], IMAGE.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(statistics["variance"], IMAGE.var((0, 1, 2)), rtol=1e-6)


def test_dropout_keeps_the_mean():
    y, _ = layers.dropout(np.ones((100, 100)), rate=0.25, generator=np.random.default_rng(0))
    assert abs(y.mean() - 1) < 0.02
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_float32_stays_float32():
    for name, (layer, _, params) in CASES.items():
        x = (draw(5, 3) if name == "dense" else IMAGE).astype(np.float32)
        own = {key: value.astype(np.float32) for key, value in params.items()}
        if name.startswith("batch_norm"):
            statistics = {key: value.astype(np.float32) for key, value in running().items()}
            layer = partial(layers.batch_norm, running=statistics, train=True)
        y, backward = layer(x, **own)
        dx, gradients = backward(y)
        assert {a.dtype for a in (y, dx, *gradients.values())} == {np.dtype(np.float32)}, name


def test_wrong_channels_are_an_error_with_numbers():
    with pytest.raises(ValueError, match="kernel has 3 input channels, x has 2"):
        layers.conv2d(draw(1, 4, 4, 2), **CONV)
