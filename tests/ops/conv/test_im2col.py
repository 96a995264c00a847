import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from numpy.lib.stride_tricks import sliding_window_view

from research.ops.conv.patches import col2im, im2col
from research.ops.padding import conv_output_size, pair
from tests.ops.sampling import every_pair, name, quick_jit

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
geometry = st.fixed_dictionaries(
    {
        "strides": pairs,
        "dilation": pairs,
        "padding": st.one_of(st.sampled_from(["SAME", "VALID"]), st.tuples(pairs, pairs)),
    }
)
CASES = every_pair(
    kernel_size=[(1, 1), (3, 2), (3, 3)],
    strides=[1, (2, 3)],
    padding=["SAME", "VALID", ((2, 1), (0, 1))],
    padding_mode=["zeros", "reflect", "replicate", "circular"],
    dilation=[1, (1, 2)],
)


def test_worked_example():
    image = jnp.arange(1.0, 17.0).reshape(1, 4, 4, 1)
    patches = im2col(image, 3, padding="VALID")
    assert patches.shape == (1, 2, 2, 9)
    np.testing.assert_array_equal(
        patches.reshape(4, 9),
        [
            [1, 2, 3, 5, 6, 7, 9, 10, 11],
            [2, 3, 4, 6, 7, 8, 10, 11, 12],
            [5, 6, 7, 9, 10, 11, 13, 14, 15],
            [6, 7, 8, 10, 11, 12, 14, 15, 16],
        ],
    )


def test_last_axis_is_kernel_row_column_channel():
    x = jnp.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    patches = im2col(x, (2, 3), padding="VALID")
    np.testing.assert_array_equal(patches[1, 1, 1].reshape(2, 3, 5), x[1, 1:3, 1:4])


@pytest.mark.parametrize(
    ("shape", "kernel_size", "strides"),
    [
        tuple(case.values())
        for case in every_pair(
            shape=[(2, 9, 11, 3), (2, 10, 9, 5), (2, 12, 13, 5)],
            kernel_size=[(3, 3), (2, 3), (3, 5)],
            strides=[1, (1, 2), (2, 1)],
        )
    ],
    ids=str,
)
def test_patches_are_the_windows_however_they_are_laid_out(shape, kernel_size, strides):
    rows, columns = pair(strides, "strides")
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    windows = sliding_window_view(x, kernel_size, axis=(1, 2))[:, ::rows, ::columns]
    expected = np.moveaxis(windows, 3, -1)  # [N, H, W, kh, kw, C]
    patches = im2col(jnp.asarray(x), kernel_size, strides=strides, padding="VALID")
    np.testing.assert_array_equal(patches, expected.reshape(patches.shape))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_col2im_is_the_adjoint_of_im2col(case):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 6, 7, 3)))
        patches = im2col(x, **case)
        p = jnp.asarray(rng.standard_normal(patches.shape))
        image = quick_jit(lambda p: col2im(p, (6, 7), **case))(p)
    assert image.shape == x.shape
    np.testing.assert_allclose(np.vdot(patches, p), np.vdot(x, image), rtol=1e-12)


def test_col2im_adds_up_where_windows_overlap():
    counts = col2im(jnp.ones((1, 3, 3, 4)), (4, 4), 2, padding="VALID")
    np.testing.assert_array_equal(
        counts[0, :, :, 0], [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    )


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("shape", [(1, 3, 3, 9), (1, 2, 2, 8), (2, 2, 9)])
def test_col2im_rejects_patches_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"patches must be \[N, 2, 2, a multiple of 9\], got \("):
        col2im(jnp.ones(shape), (4, 4), 3, padding="VALID")


@pytest.mark.usefixtures("unchecked_shapes")
def test_im2col_rejects_other_ranks():
    with pytest.raises(ValueError, match=r"x must be \[N, H, W, C\], got shape \(4, 4\)"):
        im2col(jnp.ones((4, 4)), 3)


@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), pairs, geometry)
@settings(deadline=None, derandomize=True)
def test_output_size_is_that_of_lax(in_size, kernel_size, options):
    x, kernel = (
        jax.ShapeDtypeStruct((1, *in_size, 1), jnp.float32),
        jax.ShapeDtypeStruct((*kernel_size, 1, 1), jnp.float32),
    )
    expected = jax.eval_shape(
        lambda x, kernel: lax.conv_general_dilated(
            x,
            kernel,
            options["strides"],
            options["padding"],
            rhs_dilation=options["dilation"],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        x,
        kernel,
    ).shape[1:3]
    if 0 in expected:
        with pytest.raises(ValueError, match="window spans"):
            conv_output_size(in_size, kernel_size, **options)
    else:
        assert conv_output_size(in_size, kernel_size, **options) == expected
        assert im2col_shape(in_size, kernel_size, options) == (1, *expected, kernel_size[0] * kernel_size[1])


def im2col_shape(in_size, kernel_size, options):
    x = jax.ShapeDtypeStruct((1, *in_size, 1), jnp.float32)
    return jax.eval_shape(lambda x: im2col(x, kernel_size, **options), x).shape
