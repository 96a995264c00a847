"""Integers, arrays of NumPy and no examples in the ops themselves."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Preprocess
from research.ops.adaptive_pool import (
    adaptive_average_pool,
    adaptive_max_pool,
    global_average_pool,
    global_max_pool,
)
from research.ops.batch_norm import normalize_batch
from research.ops.conv import CONV_ALGORITHMS, conv2d
from research.ops.conv.patches import col2im, im2col
from research.ops.dropout import dropout, spatial_dropout, stochastic_depth
from research.ops.maximum import first_max
from research.ops.norm import batch_norm, batch_statistics, group_norm, layer_norm
from research.ops.padding import pad2d
from research.ops.pool import average_pool, max_pool
from tests.ops.conv.reference import conv_reference
from tests.ops.sampling import quick_jit

ONES = np.ones(4, np.float32)
TWO: Any = np.int64(2)
KERNEL = np.ones((3, 3, 4, 4), np.float32)


def keys(x):
    return jax.random.split(jax.random.key(0), x.shape[0])


COMPUTE = {
    "conv2d": lambda x: conv2d(x, KERNEL),
    "col2im": lambda x: col2im(jnp.tile(jnp.asarray(x), (1, 1, 1, 9)), (4, 4), 3),
    "average_pool": average_pool,
    "global_average_pool": global_average_pool,
    "adaptive_average_pool": partial(adaptive_average_pool, output_size=2),
    "normalize_batch": lambda x: normalize_batch(x, ONES, ONES)[0],
    "batch_statistics": lambda x: batch_statistics(x)[0],
    "batch_norm": lambda x: batch_norm(x, ONES, ONES, ONES, ONES),
    "layer_norm": lambda x: layer_norm(x, ONES, ONES),
    "group_norm": lambda x: group_norm(x, ONES, ONES, num_groups=TWO),
    "dropout": lambda x: dropout(keys(x), x, np.float64(0.5)),
    "spatial_dropout": lambda x: spatial_dropout(keys(x), x, 0.5),
    "stochastic_depth": lambda x: stochastic_depth(keys(x), x, 0.5),
}
EXACT = {
    "im2col": partial(im2col, kernel_size=[3, 3]),
    "max_pool": partial(max_pool, window=[3, 3], strides=[1, 1], padding=[1, 1]),
    "global_max_pool": global_max_pool,
    "adaptive_max_pool": partial(adaptive_max_pool, output_size=[2, 2]),
    "first_max": partial(first_max, axes=[-1, 1]),
    "pad2d": partial(pad2d, pads=((1, 1), (1, 1)), mode="symmetric"),
}
OPS = COMPUTE | EXACT


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", COMPUTE)
def test_ops_that_compute_refuse_integers(name):
    for dtype in ("int32", "uint8", "bool"):
        with pytest.raises(TypeError, match=f"compute in floating point, x has dtype {dtype}"):
            jax.eval_shape(COMPUTE[name], jax.ShapeDtypeStruct((2, 4, 4, 4), dtype))


@pytest.mark.parametrize("name", EXACT)
def test_ops_that_choose_keep_integers(name):
    x = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 4))
    for dtype in ("int32", "uint8"):
        y = EXACT[name](jnp.asarray(x, dtype))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, EXACT[name](jnp.asarray(x, "float32")))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_ops_take_arrays_of_numpy(name, dtype):
    x = np.ones((2, 4, 4, 4), dtype)
    ops = OPS | {"conv2d": lambda x: conv2d(x, KERNEL.astype(dtype))}
    expected = "float32" if dtype == "float64" or name == "batch_statistics" else dtype
    assert jax.eval_shape(lambda: ops[name](x)).dtype == expected


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", OPS)
def test_ops_of_no_examples(name):
    def gradient(x):
        y, pullback = jax.vjp(OPS[name], x)
        return y, *pullback(y)

    y, dx = jax.eval_shape(gradient, jax.ShapeDtypeStruct((0, 4, 4, 4), "float32"))
    assert dx.shape == (0, 4, 4, 4)
    if name != "batch_statistics":
        assert y.shape == (0, *jax.eval_shape(OPS[name], jnp.zeros((2, 4, 4, 4))).shape[1:])


@pytest.mark.parametrize("algorithm", ["auto", *CONV_ALGORITHMS])
def test_convolution_of_no_examples(algorithm):
    def gradients(x, kernel):
        y, pullback = jax.vjp(partial(conv2d, algorithm=algorithm, groups=2), x, kernel)
        return y, *pullback(y)

    x, kernel = jnp.zeros((0, 4, 4, 4)), jnp.ones((3, 3, 2, 6))
    y, dx, dkernel = quick_jit(gradients)(x, kernel)
    assert (y.shape, dx.shape, dkernel.shape) == ((0, 4, 4, 6), x.shape, kernel.shape)
    assert not dkernel.any()


def test_the_statistics_of_no_example_are_zero_and_have_no_gradient():
    def total(scale, bias):
        y, mean, variance = normalize_batch(jnp.zeros((0, 4)), scale, bias)
        return y.sum(), (mean, variance)

    gradients, statistics = jax.grad(total, (0, 1), has_aux=True)(jnp.ones(4), jnp.ones(4))
    for vector in (*gradients, *statistics, *batch_statistics(jnp.zeros((0, 4)))):
        assert vector.tolist() == [0, 0, 0, 0]


def test_augmentation_of_no_examples():
    preprocess = Preprocess((0.5,), (0.5,), ("flip", "crop"))
    images = jnp.zeros((0, 8, 8, 1), jnp.uint8)
    assert preprocess(images, keys=keys(images)).shape == images.shape


@pytest.mark.usefixtures("unchecked_shapes")
def test_first_max_takes_axes_in_any_form():
    x = jnp.arange(24).reshape(2, 3, 4)
    for axes in ((1, 2), [1, 2], (-2, -1), np.array([1, 2])):
        assert first_max(x, axes).tolist() == [11, 23]
    for axes in (2, -1, [2], np.int64(2)):
        assert first_max(x, axes).tolist() == x.max(-1).tolist()


@pytest.mark.parametrize("algorithm", ["lax", "im2col"])
def test_convolution_with_a_symmetric_border(algorithm):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 4, 3, 2)), rng.standard_normal((3, 3, 2, 3))
    options = {
        "strides": 1,
        "padding": ((2, 1), (1, 2)),
        "padding_mode": "symmetric",
        "dilation": 1,
        "groups": 1,
    }
    y, pullback = jax.vjp(
        partial(conv2d, algorithm=algorithm, **options), jnp.float32(x), jnp.float32(kernel)
    )
    expected, *gradients = conv_reference(x, kernel, **options, cotangent=np.float64(y))
    for value, reference in zip((y, *pullback(y)), (expected, *gradients), strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-4, atol=1e-4)


def test_max_pool_of_booleans_says_whether_one_is_true():
    x = np.zeros((1, 4, 4, 1), bool)
    x[0, 3, 3] = True
    assert max_pool(x).ravel().tolist() == [False, False, False, True]
    assert max_pool(x, 3, 2, 1).ravel().tolist() == [False, False, False, True]
    assert max_pool(x, 5, 1, 2).all(where=x)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("algorithm", ["auto", "lax"])
def test_convolution_without_a_channel_is_refused(algorithm):
    with pytest.raises(ValueError, match=r"x must have at least one channel, got shape \(1, 4, 4, 0\)"):
        conv2d(jnp.zeros((1, 4, 4, 0)), jnp.ones((3, 3, 0, 5)), algorithm=algorithm)


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_seed_is_no_key_and_true_is_no_size():
    seed: Any = 0
    with pytest.raises(TypeError, match=r"keys must be typed keys from jax\.random\.key, got 0"):
        dropout(seed, jnp.ones((2, 3)), 0.5)
    with pytest.raises(ValueError, match="window must be a positive int or a pair of them, got True"):
        max_pool(jnp.ones((1, 4, 4, 1)), True)
