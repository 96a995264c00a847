"""Convolution as a product in the frequency domain."""

import jax.numpy as jnp
from jax import lax

from research.ops.conv.im2col import conv_output_size
from research.ops.padding import Array, Pads, Pair, pad2d
from research.ops.precision import accumulation_dtype


def conv2d_fft(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int) -> Array:
    """`conv2d` by the convolution theorem; its cost does not depend on the size of the kernel.

    .. math:: y = F^{-1}\\Big(\\sum_c F(x)_c\\, \\overline{F(k)_c}\\Big)

    over the padded image, cut to the pixels where the window does not wrap around. Computes in float32, or
    in float64 for float64.

    Raises:
        ValueError: strides above 1, which would throw away most of what was computed.

    Source: Mathieu, Henaff and LeCun, Fast Training of Convolutional Networks through FFTs, 2014, section 2.
    """
    if strides != (1, 1):
        raise ValueError(f"fft convolves with strides (1, 1) only, got {strides}; use im2col")
    kh, kw, features_in, features_out = kernel.shape
    out_h, out_w = conv_output_size(x.shape[1:3], (kh, kw), padding=pads, dilation=dilation)
    dtype, compute = x.dtype, accumulation_dtype(x)
    x = pad2d(x, pads).astype(compute)
    spread = [(0, 0, d - 1) for d in dilation]
    kernel = lax.pad(kernel.astype(compute), jnp.zeros((), compute), [*spread, (0, 0, 0), (0, 0, 0)])
    size = x.shape[1:3]
    images = jnp.fft.rfft2(x, axes=(1, 2)).reshape(x.shape[0], size[0], -1, groups, features_in)
    kernels = jnp.fft.rfft2(kernel, size, axes=(0, 1)).conj()
    kernels = kernels.reshape(size[0], -1, features_in, groups, features_out // groups)
    y = jnp.einsum("nhwgc,hwcgo->nhwgo", images, kernels).reshape(*images.shape[:3], features_out)
    return jnp.fft.irfft2(y, size, axes=(1, 2))[:, :out_h, :out_w].astype(dtype)
