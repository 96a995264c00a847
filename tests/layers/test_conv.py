import jax
import jax.numpy as jnp
import pytest

from research.layers import Conv2D, DepthwiseSeparableConv
from research.layers.base import abstract_init
from research.ops.conv import conv2d


def test_is_conv2d_plus_bias(draw, fill):
    layer = Conv2D(6, (3, 2), (2, 1), "VALID", dilation=(1, 2), groups=2)
    params, _ = fill(layer, (2, 9, 9, 4))
    assert params["kernel"].shape == (3, 2, 2, 6)
    x = draw((2, 9, 9, 4))
    y, _ = layer.apply(params, {}, x, train=False)
    expected = conv2d(x, params["kernel"], strides=(2, 1), padding="VALID", dilation=(1, 2), groups=2)
    assert jnp.allclose(y, expected + params["bias"].reshape(1, 1, 1, 6))


def test_padding_mode_and_algorithm_are_used(draw, fill):
    x = draw((2, 6, 6, 3))
    params, _ = fill(Conv2D(4), x.shape)
    zeros, _ = Conv2D(4).apply(params, {}, x, train=False)
    circular, _ = Conv2D(4, padding_mode="circular").apply(params, {}, x, train=False)
    lax, _ = Conv2D(4, algorithm="lax").apply(params, {}, x, train=False)
    assert not jnp.allclose(zeros, circular)
    assert jnp.allclose(zeros, lax, atol=1e-4)


def test_depthwise_separable_is_its_two_convolutions(draw, fill):
    layer = DepthwiseSeparableConv(6, strides=2, use_bias=False)
    x = draw((2, 8, 8, 3))
    params, _ = fill(layer, x.shape)
    assert params["depthwise"]["kernel"].shape == (3, 3, 1, 3)
    assert params["pointwise"]["kernel"].shape == (1, 1, 3, 6)
    y, _ = layer.apply(params, {}, x, train=False)
    middle = conv2d(x, params["depthwise"]["kernel"], strides=2, groups=3)
    assert jnp.allclose(y, conv2d(middle, params["pointwise"]["kernel"]), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "features=0 is not a positive multiple of groups=1"),
        ({"features": 6, "groups": 4}, "features=6 is not a positive multiple of groups=4"),
        ({"features": 6, "initializer": "magic"}, "unknown initializer 'magic'; allowed: .*he_normal"),
        ({"features": 6, "algorithm": "magic"}, "unknown convolution algorithm 'magic'; allowed: .*im2col"),
    ],
)
def test_impossible_layers(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv2D(**arguments)
    if arguments.get("groups", 1) == 1:
        with pytest.raises(ValueError, match=message):
            DepthwiseSeparableConv(**arguments).init(jax.random.key(0), (1, 8, 8, 3))


@pytest.mark.parametrize(
    ("layer", "in_shape", "message"),
    [
        (Conv2D(4), (1, 64), r"takes images \[N, H, W, C\], x has shape \[1, 64\]"),
        (Conv2D(4, groups=2), (1, 8, 8, 3), "x has 3 channels, not a multiple of groups=2"),
        (Conv2D(4, 5, padding="VALID"), (1, 4, 8, 3), "window spans 5x5 pixels, the padded image has 4x8"),
        (Conv2D(4, padding="MAYBE"), (1, 8, 8, 3), "padding must be .*'MAYBE'"),
        (Conv2D(4, padding_mode="magic"), (1, 8, 8, 3), "unknown padding mode 'magic'"),
        (DepthwiseSeparableConv(4), (1, 64), r"takes images \[N, H, W, C\], x has shape \[1, 64\]"),
    ],
)
def test_init_says_what_does_not_fit(layer, in_shape, message):
    with pytest.raises(ValueError, match=message):
        abstract_init(layer, in_shape)


def test_other_channels_than_at_init():
    params = {"kernel": jnp.ones((3, 3, 3, 4)), "bias": jnp.ones(4)}
    with pytest.raises(ValueError, match=r"kernel has 3 input channels, x has 1 \(groups=1\)"):
        Conv2D(4).apply(params, {}, jnp.ones((1, 8, 8, 1)), train=False)
