"""Convolution as a sum of products, one for each kernel element, without a patch matrix."""

import itertools

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from research.ops.conv.patches import window_slice
from research.ops.padding import Pads, Pair, conv_output_size, pad2d
from research.ops.precision import accumulation_dtype


def conv2d_shifted(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    r"""Compute `conv2d` by `kh * kw` dots, each of a shifted image with one kernel element.

    $$
    y = \sum_{a,b} \mathrm{shift}_{a,b}(x)\, k_{a,b}
    $$

    No patch matrix is held in memory, but the output is read and written once per kernel element.

    Source: Anderson et al., Low-memory GEMM-based convolution algorithms for deep neural networks, 2017,
    section 3 (kn2row).
    """
    kh, kw, features_in, features_out = kernel.shape
    out_size = conv_output_size(x.shape[1:3], (kh, kw), strides=strides, padding=pads, dilation=dilation)
    x = pad2d(x, pads)
    kernel = kernel.reshape(kh, kw, features_in, groups, features_out // groups)
    y = jnp.zeros((x.shape[0], *out_size, groups, features_out // groups), accumulation_dtype(x))
    for a, b in itertools.product(range(kh), range(kw)):
        shifted = window_slice(x, (a * dilation[0], b * dilation[1]), out_size, strides)
        shifted = shifted.reshape(*shifted.shape[:3], groups, features_in)
        # Each product is added in the accumulation dtype, since rounding it to bfloat16 would lose precision.
        y += jnp.einsum("nhwgc,cgo->nhwgo", shifted, kernel[a, b], preferred_element_type=y.dtype)
    return y.reshape(*y.shape[:3], features_out).astype(x.dtype)
