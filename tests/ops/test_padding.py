from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from research.ops.padding import PADDING_MODES, conv_output_size, pad2d, pair, resolve_padding

BORDERS = {
    "zeros": partial(np.pad, mode="constant"),
    "reflect": partial(np.pad, mode="reflect"),
    "symmetric": partial(np.pad, mode="symmetric"),
    "replicate": partial(np.pad, mode="edge"),
    "circular": partial(np.pad, mode="wrap"),
}


def test_every_mode_is_tested():
    assert set(PADDING_MODES) == set(BORDERS)


@pytest.mark.parametrize("mode", BORDERS)
@pytest.mark.parametrize("pads", [((1, 2), (0, 1)), ((0, 0), (0, 0)), ((4, 3), (6, 0))])
def test_borders_are_those_of_numpy(mode, pads):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 2)).astype(np.float32)
    y = pad2d(jnp.asarray(x), pads, mode)
    np.testing.assert_array_equal(y, BORDERS[mode](x, ((0, 0), *pads, (0, 0))))


@pytest.mark.parametrize("mode", BORDERS)
def test_gradient_counts_how_often_a_pixel_is_shown(mode):
    pads = ((1, 2), (2, 1))
    gradient = jax.grad(lambda x: pad2d(x, pads, mode).sum())(jnp.zeros((1, 3, 4, 1)))
    shown = BORDERS[mode](np.arange(1, 13).reshape(3, 4), pads)
    np.testing.assert_array_equal(gradient.ravel(), np.bincount(shown.ravel(), minlength=13)[1:])


@given(*[st.tuples(st.integers(1, 9), st.integers(1, 9))] * 4)
@settings(deadline=None, derandomize=True)
def test_same_padding_is_that_of_lax(in_size, kernel_size, strides, dilation):
    spans = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    expected = lax.padtype_to_pads(in_size, spans, strides, "SAME")
    assert list(resolve_padding("SAME", in_size, kernel_size, strides, dilation)) == expected


@pytest.mark.parametrize(
    ("padding", "pads"),
    [
        ("VALID", ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], ((1, 2), (3, 4))),
        pytest.param([1, (2, 3)], ((1, 1), (2, 3)), id="list of an int and a pair"),
        pytest.param(np.str_("VALID"), ((0, 0), (0, 0)), id="NumPy text"),
    ],
)
def test_ways_to_give_padding(padding, pads):
    assert resolve_padding(padding, 5, 3) == pads


@pytest.mark.parametrize(
    "padding", ["same", "", -1, (1, -1), (1, 2, 3), ((1, 2), (3,)), ((1, 2, 3), (1, 2)), ()]
)
def test_other_padding_is_rejected(padding):
    with pytest.raises(ValueError, match='padding must be "SAME", "VALID", an int'):
        resolve_padding(padding, 5, 3)


@pytest.mark.usefixtures("unchecked_shapes")
def test_sizes_may_be_lists_and_integers_of_numpy():
    threes = (
        3,
        np.int64(3),
        np.uint8(3),
        np.array(3),
        jnp.int32(3),
        [3, 3],
        (np.int32(3), 3),
        np.array([3, 3]),
    )
    for value in threes:
        assert pair(value, "window") == (3, 3)
        assert all(type(number) is int for number in pair(value, "window"))
        assert resolve_padding(value, value, value, value, value) == ((3, 3), (3, 3))
        assert conv_output_size((9, 9), value, strides=value, padding=value) == (5, 5)
    assert resolve_padding(np.array([[1, 2], [3, 4]]), 5, 3) == ((1, 2), (3, 4))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("value", [3.0, np.float32(3), "3", None, [3, 3.0], [[3, 3]]])
def test_what_is_no_size_is_refused_in_one_sentence(value):
    with pytest.raises(ValueError, match="window must be a positive int or a pair of them, got"):
        pair(value, "window")
    with pytest.raises(ValueError, match='padding must be "SAME", "VALID", an int'):
        resolve_padding(value, 5, 3)


def test_symmetric_repeats_the_edge_pixel():
    row = jnp.array([1, 2, 3]).reshape(1, 1, 3, 1)
    assert pad2d(row, ((0, 0), (2, 2)), "symmetric").ravel().tolist() == [2, 1, 1, 2, 3, 3, 2]
    assert pad2d(row, ((0, 0), (2, 2)), "reflect").ravel().tolist() == [3, 2, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("value", [0, -1, (1, 0), (1, 2, 3), ()])
def test_pair_takes_positive_ints(value):
    with pytest.raises(ValueError, match="window must be a positive int or a pair of them, got"):
        pair(value, "window")


def test_unknown_mode_is_rejected_even_without_a_border():
    with pytest.raises(
        ValueError,
        match="unknown padding mode 'constant'; allowed: circular, reflect, replicate, symmetric, zeros",
    ):
        pad2d(jnp.ones((1, 2, 2, 1)), ((0, 0), (0, 0)), "constant")
