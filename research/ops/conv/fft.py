"""Convolution as a product in the frequency domain."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.padding import Pads, Pair, conv_output_size, pad2d
from research.ops.precision import accumulation_dtype


def conv2d_fft(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    r"""Compute `conv2d` by the convolution theorem, at a cost that does not depend on the kernel size.

    $$
    y = F^{-1}\Big(\sum_c F(x)_c\, \overline{F(k)_c}\Big)
    $$

    where $F$ is the Fourier transform of the padded image. The output is cut to the pixels for which the
    window does not wrap around. The computation is in float32, or in float64 if `x` is float64.

    Raises:
        ValueError: a stride is above 1. Most of what was computed would be thrown away.

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
    columns = size[1] // 2 + 1  # the transform of real images is symmetric, and half of it is kept
    images = jnp.fft.rfft2(x, axes=(1, 2)).reshape(x.shape[0], size[0], columns, groups, features_in)
    kernels = jnp.fft.rfft2(kernel, size, axes=(0, 1)).conj()
    kernels = kernels.reshape(size[0], columns, features_in, groups, features_out // groups)
    y = jnp.einsum("nhwgc,hwcgo->nhwgo", images, kernels).reshape(*images.shape[:3], features_out)
    return jnp.fft.irfft2(y, size, axes=(1, 2))[:, :out_h, :out_w].astype(dtype)
