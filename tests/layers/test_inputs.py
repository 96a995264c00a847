"""The inputs and sizes that people give: arrays of NumPy, integers, no examples, lists, and one key."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.layers import (
    Activation,
    AdaptivePool,
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseSeparableConv,
    Dropout,
    Flatten,
    GroupNorm,
    MaxPool,
    Residual,
    Sequential,
)
from research.layers.base import abstract_init, out_shape
from research.layers.remat import Remat
from tests.layers.test_layers import CASES

THREE: Any = np.int64(3)
TWO: Any = np.int8(2)
HALF: Any = np.float32(0.5)
PAIRS: Any = [["conv", Conv2D(4, [1, 1])]]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("given", "same"),
    [
        (lambda: Conv2D(4, [3, 3]), Conv2D(4, (3, 3))),
        (lambda: Conv2D(THREE, np.array([3, 1]), [1, 2], [1, 0]), Conv2D(3, (3, 1), (1, 2), (1, 0))),
        (lambda: Conv2D(4, padding=[[1, 2], [0, 1]]), Conv2D(4, padding=((1, 2), (0, 1)))),
        (lambda: Conv2D(4, dilation=np.int32(2), groups=TWO), Conv2D(4, dilation=2, groups=2)),
        (lambda: DepthwiseSeparableConv(4, [3, 3], [2, 2]), DepthwiseSeparableConv(4, (3, 3), (2, 2))),
        (lambda: Dense(THREE), Dense(3)),
        (lambda: MaxPool([2, 1], np.int64(2), [1, 0]), MaxPool((2, 1), 2, (1, 0))),
        (lambda: AveragePool(np.array([2, 2])), AveragePool((2, 2))),
        (lambda: AdaptivePool([2, 1]), AdaptivePool((2, 1))),
        (lambda: GroupNorm(TWO), GroupNorm(2)),
        (lambda: Dropout(HALF), Dropout(0.5)),
        (lambda: Sequential(PAIRS), Sequential((("conv", Conv2D(4, (1, 1))),))),
    ],
    ids=lambda value: "" if callable(value) else str(value)[:50],
)
def test_lists_and_numbers_of_numpy_are_sizes(given, same):
    layer = given()
    assert layer == same
    assert hash(layer) == hash(same)
    assert repr(layer) == repr(same)
    in_shape: Any = [2, 8, 8, 4] if not isinstance(layer, Dense) else [2, 4]
    params, state = abstract_init(layer, in_shape)
    assert out_shape(layer, params, state, in_shape) == out_shape(same, params, state, tuple(in_shape))


def output(layer, x, train=True):
    params, state = layer.init(jax.random.key(0), x.shape)
    return layer.apply(params, state, x, train=train, key=jax.random.split(jax.random.key(1), x.shape[0]))


PARAMETRIZE = pytest.mark.parametrize(("layer", "in_shape", "expected"), CASES, ids=lambda v: str(v)[:60])


@PARAMETRIZE
@pytest.mark.parametrize("x64", [False, True])
def test_images_of_numpy_have_the_dtype_that_jax_gives_them(layer, in_shape, expected, x64):
    for dtype in (np.float64, np.float32, np.float16):
        with jax.enable_x64(x64):
            y, _ = jax.eval_shape(lambda dtype=dtype: output(layer, np.ones(in_shape, dtype)))
            assert y.dtype == jnp.asarray(np.ones(1, dtype)).dtype
        assert y.shape == expected


def test_a_float64_image_of_numpy_is_convolved_in_float32():
    y, _ = output(Conv2D(2), np.ones((1, 4, 4, 1)), train=False)
    expected, _ = output(Conv2D(2), jnp.ones((1, 4, 4, 1)), train=False)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, expected)


@pytest.mark.usefixtures("unchecked_shapes")
@PARAMETRIZE
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_integers_are_refused_or_exact(layer, in_shape, expected, dtype):
    params, state = abstract_init(layer, in_shape)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), in_shape[0]))
    apply = partial(jax.eval_shape, partial(layer.apply, train=True), params, state, key=keys)
    x = jax.ShapeDtypeStruct(in_shape, dtype)
    if isinstance(layer, Flatten | MaxPool) or (isinstance(layer, AdaptivePool) and layer.kind == "max"):
        assert apply(x)[0].dtype == dtype
    else:
        with pytest.raises(TypeError, match=f"compute in floating point, x has dtype {dtype}"):
            apply(x)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_of_integers_is_an_error_and_not_zeros(train):
    with pytest.raises(TypeError, match="x has dtype int32"):
        output(BatchNorm(), jnp.array([[1], [3]]), train)


def test_the_maximum_of_integers_is_exact_where_float32_is_not():
    large = 2**24 + 1
    x = jnp.array([-large, -large - 1, -large, -large - 2]).reshape(1, 2, 2, 1)
    assert output(MaxPool(2), x)[0].item() == -large
    assert output(MaxPool(2, 1, 1), x)[0].max() == -large  # the border never wins
    assert output(AdaptivePool(1, "max"), x)[0].item() == -large
    assert output(Activation("relu"), -x)[0].ravel().tolist() == [large, large + 1, large, large + 2]
    assert output(Flatten(), x)[0].tolist() == [[-large, -large - 1, -large, -large - 2]]
    assert output(MaxPool(2, 1, 1), jnp.zeros((1, 2, 2, 1), jnp.uint8))[0].max() == 0


@PARAMETRIZE
def test_no_examples_give_no_outputs_and_leave_the_state(layer, in_shape, expected):
    x = jnp.zeros((0, *in_shape[1:]))
    params, state = abstract_init(layer, in_shape)

    def value_and_gradients(params, state, x):
        keys = jax.random.split(jax.random.key(1), 0)
        y, pullback, new_state = jax.vjp(
            lambda p, x: layer.apply(p, state, x, train=True, key=keys), params, x, has_aux=True
        )
        return y, pullback(y), new_state

    y, (dparams, dx), new_state = jax.eval_shape(value_and_gradients, params, state, x)
    assert (y.shape, dx.shape) == ((0, *expected[1:]), x.shape)
    assert jax.tree.map(jnp.shape, (dparams, new_state)) == jax.tree.map(jnp.shape, (params, state))
    assert out_shape(layer, params, state, x.shape) == y.shape


def test_the_statistics_and_gradients_of_no_example(fill, quick_jit):
    net = Sequential((("conv", Conv2D(4)), ("norm", BatchNorm()), ("pool", MaxPool(2)), ("flat", Flatten())))
    params, state = fill(net, (2, 4, 4, 1))

    @quick_jit
    def gradients(params):
        y, pullback, new_state = jax.vjp(
            lambda p: net.apply(p, state, jnp.zeros((0, 4, 4, 1)), train=True), params, has_aux=True
        )
        return pullback(y)[0], new_state

    grads, new_state = gradients(params)
    jax.tree.map(np.testing.assert_array_equal, new_state, state)
    assert all(not leaf.any() for leaf in jax.tree.leaves(grads))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    "net",
    [
        Sequential((("drop", Dropout(0.5)),)),
        Sequential((("block", Residual(Sequential((("drop", Dropout(0.5)),)))),)),
        Residual(Dropout(0.5)),
        Remat(Sequential((("drop", Dropout(0.5)),))),
        Sequential((("dense", Dense(2)),)),
        Dropout(0.5),
    ],
    ids=lambda net: str(net)[:50],
)
def test_one_key_for_a_batch_is_refused_in_the_sentence_of_dropout(net):
    params, state = abstract_init(net, (2, 3))
    apply = partial(jax.eval_shape, partial(net.apply, train=True), params, state, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"keys has shape \(\), x has 2 examples; give a key for each"):
        apply(key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"keys has shape \(3,\), x has 2 examples; give a key for each"):
        apply(key=jax.random.split(jax.random.key(0), 3))
    with pytest.raises(TypeError, match=r"keys must be typed keys from jax.random.key, got uint32\[2\]"):
        apply(key=jax.random.PRNGKey(0))
