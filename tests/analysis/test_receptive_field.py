from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from research.analysis import Field, receptive_fields
from research.layers import (
    Activation,
    AdaptivePool,
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseSeparableConv,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Residual,
    Sequential,
)
from research.layers.base import abstract_init
from research.utils.xla import at_level


def chain(*layers: Any) -> Sequential:
    return Sequential(tuple((f"l{i}", layer) for i, layer in enumerate(layers)))


def fields(net, size=64):
    return receptive_fields(net, (1, size, size, 2))


@pytest.mark.parametrize(
    ("layers", "sizes", "strides"),
    [
        ((Conv2D(2), Conv2D(2), Conv2D(2)), [3, 5, 7], [1, 1, 1]),
        ((Conv2D(2), Conv2D(2, strides=2), Conv2D(2)), [3, 5, 9], [1, 2, 2]),
        ((Conv2D(2, dilation=2), Conv2D(2, dilation=4)), [5, 13], [1, 1]),
        ((Conv2D(2), Activation(), MaxPool(2), BatchNorm(), Conv2D(2)), [3, 3, 4, 4, 8], [1, 1, 2, 2, 2]),
        ((AveragePool(3, 1), DepthwiseSeparableConv(2, 5, 2), MaxPool(2, 1)), [3, 7, 9], [1, 2, 2]),
        ((AdaptivePool(16), Conv2D(2)), [4, 12], [4, 4]),
        ((MaxPool(2), GlobalAveragePool(), Dense(3)), [2, 64, 64], [2, 64, 64]),
        ((MaxPool(2), Flatten(), Dense(3)), [2, 64, 64], [2, 64, 64]),
    ],
)
def test_chains(layers, sizes, strides):
    expected = [Field((r, r), (s, s)) for r, s in zip(sizes, strides, strict=True)]
    assert list(fields(chain(*layers)).values()) == expected


def test_height_and_width_apart():
    net = chain(Conv2D(2, (5, 1), (2, 1)), Conv2D(2, (3, 7)))
    assert list(fields(net).values()) == [Field((5, 1), (2, 1)), Field((9, 7), (2, 1))]


def test_residual_takes_the_largest():
    net = chain(Conv2D(2), Residual(chain(Conv2D(2), Conv2D(2)), Conv2D(2, 1)), Residual(Conv2D(2, 1)))
    found = fields(net)
    assert found["l1/shortcut"].size == (3, 3)
    assert found["l1"].size == found["l1/body/l1"].size == found["l2"].size == (7, 7)


def test_adaptive_pool_with_unequal_bins_gives_the_largest():
    # bins of 10 pixels by 3: [0, 4), [3, 7), [6, 10)
    assert fields(chain(AdaptivePool(3)), size=10)["l0"] == Field((4, 4), (4, 4))


@pytest.mark.parametrize(
    "net",
    [
        chain(Conv2D(2), Conv2D(2, 3, 2), Conv2D(2, dilation=2)),
        chain(Conv2D(2, 5), MaxPool(3, 2), Residual(chain(Conv2D(2), Conv2D(2)))),
        chain(Residual(Conv2D(2, strides=2), Conv2D(2, 1, 2)), Conv2D(2)),
    ],
)
def test_gradients_reach_as_far_as_the_field_and_no_farther(net):
    """The theoretical field is where the gradient of one output is not zero, if all kernels are ones."""
    in_shape = (1, 33, 33, 2)
    params, _ = abstract_init(net, in_shape)
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), params)
    # rising pixels, so that max-pooling picks its last; hence the field is measured for both orders
    image = jnp.arange(33.0 * 33 * 2).reshape(in_shape)

    @partial(jax.jit, compiler_options=at_level(0))
    def reached(x):
        grads = jax.grad(lambda x: net.apply(params, {}, x, train=False)[0][0, 8, 8].sum())(x)
        return (grads[0] != 0).any((1, 2))

    rows = jnp.flatnonzero(reached(image) | reached(-image))
    assert int(rows[-1] - rows[0]) + 1 == list(fields(net, size=33).values())[-1].size[0]


def test_unknown_layer():
    class Mystery:
        def init(self, key, in_shape):
            return {}, {}

        def apply(self, params, state, x, *, train, key=None):
            return x, {}

    with pytest.raises(TypeError, match="the receptive field of Mystery is not known"):
        fields(chain(Mystery()))
