"""What `conv2d` does not take is refused with the numbers, for every algorithm."""

import jax.numpy as jnp
import pytest

from research.ops.conv import CONV_ALGORITHMS, conv2d


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("algorithm", CONV_ALGORITHMS)
@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "options", "message"),
    [
        ((1, 5, 5, 3), (3, 3, 8, 4), {}, r"kernel has 8 input channels, x has 3 \(groups=1\)"),
        ((1, 5, 5, 4), (3, 3, 4, 4), {"groups": 2}, r"kernel has 4 input channels, x has 4 \(groups=2\)"),
        (
            (1, 5, 5, 3),
            (3, 3, 1, 4),
            {"groups": 2},
            "groups=2 must divide the 3 channels of x and the 4 output",
        ),
        (
            (1, 5, 5, 4),
            (3, 3, 2, 3),
            {"groups": 2},
            "groups=2 must divide the 4 channels of x and the 3 output",
        ),
        ((1, 5, 5, 4), (3, 3, 4, 3), {"groups": 0}, "groups=0 must divide"),
        (
            (1, 2, 5, 1),
            (3, 3, 1, 1),
            {"padding": "VALID"},
            "window spans 3x3 pixels, the padded image has 2x5",
        ),
        (
            (1, 4, 4, 1),
            (3, 3, 1, 1),
            {"padding": 0, "dilation": 2},
            "window spans 5x5 pixels, the padded image has 4x4",
        ),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"padding": "same"}, "padding must be .* got 'same'"),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"padding": (1, 2, 3)}, r"padding must be .* got \(1, 2, 3\)"),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"padding": -1}, "padding must be .* got -1"),
        (
            (1, 4, 4, 1),
            (3, 3, 1, 1),
            {"padding_mode": "mirror"},
            "unknown padding mode 'mirror'; allowed: circular",
        ),
        (
            (1, 4, 4, 1),
            (3, 3, 1, 1),
            {"strides": 0},
            "strides must be a positive int or a pair of them, got 0",
        ),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"dilation": (1, 2, 3)}, r"dilation must be .* got \(1, 2, 3\)"),
        ((4, 4, 1), (3, 3, 1, 1), {}, r"got shapes \(4, 4, 1\) and \(3, 3, 1, 1\)"),
        ((1, 4, 4, 1), (3, 3, 1), {}, r"got shapes \(1, 4, 4, 1\) and \(3, 3, 1\)"),
    ],
)
def test_errors_say_the_numbers(x_shape, kernel_shape, options, message, algorithm):
    with pytest.raises(ValueError, match=message):
        conv2d(jnp.ones(x_shape), jnp.ones(kernel_shape), algorithm=algorithm, **options)


@pytest.mark.parametrize(
    ("algorithm", "kernel_size", "options", "message"),
    [
        ("fft", 3, {"strides": 2}, r"fft convolves with strides \(1, 1\) only, got \(2, 2\); use im2col"),
        ("winograd2", 5, {}, r"winograd2 convolves with kernel size \(3, 3\) only, got \(5, 5\)"),
        (
            "winograd4",
            3,
            {"strides": (1, 2)},
            r"winograd4 convolves with strides \(1, 1\) only, got \(1, 2\)",
        ),
    ],
)
def test_what_an_algorithm_does_not_do(algorithm, kernel_size, options, message):
    x, kernel = jnp.ones((1, 9, 9, 1)), jnp.ones((kernel_size, kernel_size, 1, 1))
    with pytest.raises(ValueError, match=message):
        conv2d(x, kernel, algorithm=algorithm, **options)


def test_unknown_algorithm_and_mixed_dtypes():
    x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))
    with pytest.raises(
        ValueError, match="unknown convolution algorithm 'fast'; allowed: auto, depthwise, fft, im2col, lax"
    ):
        conv2d(x, kernel, algorithm="fast")
    with pytest.raises(TypeError, match="x is float32, kernel is bfloat16"):
        conv2d(x, kernel.astype(jnp.bfloat16))
