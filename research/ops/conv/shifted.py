"""Convolution as a sum of products, one for each kernel element, without a patch matrix."""

import itertools

import jax.numpy as jnp

from research.ops.conv.im2col import conv_output_size, window_slice
from research.ops.padding import Array, Pads, Pair, pad2d
from research.ops.precision import accumulation_dtype


def conv2d_shifted(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int) -> Array:
    """`conv2d` as ``kh * kw`` dots, each of a shifted image with one kernel element.

    .. math:: y = \\sum_{a,b} \\mathrm{shift}_{a,b}(x)\\, k_{a,b}

    It holds no patch matrix, but reads and writes the output once per kernel element.

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
        # sums of bfloat16 products are kept in float32: rounding each of them would show
        y += jnp.einsum("nhwgc,cgo->nhwgo", shifted, kernel[a, b], preferred_element_type=y.dtype)
    return y.reshape(*y.shape[:3], features_out).astype(x.dtype)
