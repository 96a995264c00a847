import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from research.analysis import macs
from research.analysis.walk import walk
from research.layers import Conv2D, Dense, DepthwiseSeparableConv, MaxPool
from research.layers.base import abstract_init, out_shape
from research.models import MODELS


def xla_count(layer: Any, in_shape) -> int:
    """MACs per image by XLA's own cost analysis of the im2col program, which pads before it multiplies."""
    program = {} if isinstance(layer, Dense) else {"algorithm": "im2col"}
    layer = dataclasses.replace(layer, use_bias=False, **program)
    x = jax.ShapeDtypeStruct((1, *in_shape[1:]), jnp.float32)
    params, _ = abstract_init(layer, x.shape)
    lowered = jax.jit(lambda params, x: layer.apply(params, {}, x, train=False)[0]).lower(params, x)
    flops = (lowered.cost_analysis() or {})["flops"]
    # besides two per MAC, XLA counts one for each scalar that it converts to pad with
    return int(flops) // 2


@pytest.mark.parametrize(
    ("layer", "in_shape"),
    [
        (Conv2D(8), (1, 9, 7, 3)),
        (Conv2D(8, (3, 1), (2, 1), "VALID"), (1, 9, 7, 3)),
        (Conv2D(8, 3, padding=2, dilation=2, groups=2), (1, 9, 7, 4)),
        (Conv2D(4, 5, groups=4, padding_mode="reflect"), (1, 9, 7, 4)),
        (DepthwiseSeparableConv(8, strides=2), (1, 9, 7, 3)),
        (Dense(8), (1, 30)),
    ],
    ids=str,
)
def test_closed_form_is_what_xla_counts(layer, in_shape):
    params, state = abstract_init(layer, in_shape)
    assert macs(layer, in_shape, out_shape(layer, params, state, in_shape)) == xla_count(layer, in_shape)


@pytest.mark.parametrize("name", ["plain", "simple_resnet"])
def test_closed_form_is_what_xla_counts_in_whole_networks(name):
    nodes = {
        (node.layer, node.in_shape): macs(node.layer, node.in_shape, node.out_shape)
        for node in walk(MODELS[name]((28, 28, 1), 10), (1, 28, 28, 1))
        if isinstance(node.layer, Conv2D | Dense)
    }
    assert {key: xla_count(*key) for key in nodes} == nodes


def test_known_numbers():
    total = sum(
        macs(node.layer, node.in_shape, node.out_shape)
        for node in walk(MODELS["conv_pair"]((28, 28, 1), 10), (128, 28, 28, 1))
    )
    assert total == 28 * 28 * 9 * 32 + 14 * 14 * 9 * 32 * 64 + 3136 * 128 + 128 * 10
    assert macs(MaxPool(2), (1, 4, 4, 3), (1, 2, 2, 3)) == 0


def test_unknown_layer():
    class Mystery:
        def init(self, key, in_shape):
            return {}, {}

        def apply(self, params, state, x, *, train, key=None):
            return x, {}

    with pytest.raises(TypeError, match=r"the MACs of Mystery are not known; add them with macs.register"):
        macs(Mystery(), (1, 3), (1, 3))
