"""What holds for every layer."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import research.layers as layers
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
    GlobalAveragePool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Residual,
    Sequential,
    SpatialDropout,
    StochasticDepth,
)
from research.layers.base import Layer, abstract_init, out_shape

IMAGES, VECTORS = (3, 8, 10, 4), (3, 12)
CASES = [
    (Conv2D(6), IMAGES, (3, 8, 10, 6)),
    (Conv2D(6, (3, 1), (2, 1), "VALID", use_bias=False), IMAGES, (3, 3, 10, 6)),
    (Conv2D(6, 3, padding=1, padding_mode="circular", dilation=2, groups=2), IMAGES, (3, 6, 8, 6)),
    (Conv2D(4, 5, padding=((0, 1), (2, 3)), groups=4, algorithm="lax"), IMAGES, (3, 5, 11, 4)),
    (DepthwiseSeparableConv(6, strides=2), IMAGES, (3, 4, 5, 6)),
    (Dense(5), VECTORS, (3, 5)),
    (Dense(5, use_bias=False), VECTORS, (3, 5)),
    (BatchNorm(), IMAGES, IMAGES),
    (BatchNorm(), VECTORS, VECTORS),
    (LayerNorm(), IMAGES, IMAGES),
    (LayerNorm(), VECTORS, VECTORS),
    (GroupNorm(2), IMAGES, IMAGES),
    (MaxPool(2), IMAGES, (3, 4, 5, 4)),
    (MaxPool((3, 2), 2, "SAME"), IMAGES, (3, 4, 5, 4)),
    (AveragePool(3, 1), IMAGES, (3, 6, 8, 4)),
    (GlobalAveragePool(), IMAGES, (3, 4)),
    (AdaptivePool(3), IMAGES, (3, 3, 3, 4)),
    (AdaptivePool((2, 1), "max"), IMAGES, (3, 2, 1, 4)),
    (Flatten(), IMAGES, (3, 320)),
    (Flatten(), VECTORS, VECTORS),
    (Activation("gelu"), IMAGES, IMAGES),
    (Dropout(0.5), IMAGES, IMAGES),
    (Dropout(0.5), VECTORS, VECTORS),
    (SpatialDropout(0.5), IMAGES, IMAGES),
    (StochasticDepth(0.5), IMAGES, IMAGES),
    (StochasticDepth(0.5), VECTORS, VECTORS),
    (Sequential((("conv", Conv2D(2)), ("norm", BatchNorm()), ("flatten", Flatten()))), IMAGES, (3, 160)),
    (Residual(Sequential((("conv", Conv2D(4)), ("drop", Dropout(0.1))))), IMAGES, IMAGES),
    (Residual(Conv2D(6, strides=2), Conv2D(6, 1, 2)), IMAGES, (3, 4, 5, 6)),
]
PARAMETRIZE = pytest.mark.parametrize(("layer", "in_shape", "expected"), CASES, ids=lambda v: str(v)[:60])


def run(layer: Layer, in_shape, *, train: bool, dtype=jnp.float32):
    params, state = layer.init(jax.random.key(0), in_shape)
    x = jax.random.normal(jax.random.key(1), in_shape, dtype)
    keys = jax.random.split(jax.random.key(2), in_shape[0])
    return params, state, *layer.apply(params, state, x, train=train, key=keys)


def shapes_and_dtypes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def test_every_kind_of_layer_is_among_the_cases():
    kinds = {kind for name in layers.__all__ if dataclasses.is_dataclass(kind := getattr(layers, name))}
    assert kinds == {type(layer) for layer, _, _ in CASES}


@PARAMETRIZE
@pytest.mark.parametrize("train", [True, False])
def test_init_and_apply_agree_on_shapes(layer, in_shape, expected, train):
    params, state, y, new_state = jax.eval_shape(lambda: run(layer, in_shape, train=train))
    assert y.shape == expected == out_shape(layer, params, state, in_shape)
    assert y.dtype == jnp.float32
    assert shapes_and_dtypes(new_state) == shapes_and_dtypes(state)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((params, state)))
    assert shapes_and_dtypes((params, state)) == shapes_and_dtypes(abstract_init(layer, in_shape))


@PARAMETRIZE
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_computes_in_the_dtype_of_x_and_keeps_that_of_the_state(layer, in_shape, expected, dtype):
    with jax.enable_x64(True):
        _, state, y, new_state = jax.eval_shape(lambda: run(layer, in_shape, train=True, dtype=dtype))
    assert y.dtype == dtype
    assert shapes_and_dtypes(new_state) == shapes_and_dtypes(state)


@PARAMETRIZE
def test_is_a_hashable_value(layer, in_shape, expected):
    copy = dataclasses.replace(layer)
    assert copy == layer
    assert hash(copy) == hash(layer)
    assert isinstance(layer, Layer)


@PARAMETRIZE
def test_gradients_are_finite_and_reach_every_parameter(layer, in_shape, expected, draw, fill, quick_jit):
    params, state = fill(layer, in_shape)
    x, weights, keys = draw(in_shape), draw(expected), jax.random.split(jax.random.key(2), in_shape[0])

    @quick_jit
    def output_and_gradients(params):
        y, pullback = jax.vjp(lambda p: layer.apply(p, state, x, train=True, key=keys)[0], params)
        return y, pullback(weights)[0]

    y, grads = output_and_gradients(params)
    assert bool(jnp.isfinite(y).all())
    for path, grad in jax.tree.leaves_with_path(grads):
        assert bool(jnp.isfinite(grad).all()), path
        assert bool((grad != 0).any()), path
