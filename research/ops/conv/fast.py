"""Whether XLA has a fast kernel for a convolution, and the forms in which it takes narrow convolutions."""

from functools import cache

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.conv.lax import conv2d_lax
from research.ops.padding import Pads, Pair, conv_output_size, pad2d

FEW_CHANNELS = 16
"""XLA on the CPU has no fast kernel if both input and output have at most this many channels."""

MOST_PIXELS = 3
"""The largest number of pixels that `conv_wide` computes as one."""

NARROW = 4
"""The largest number of input channels for which `conv_wide` joins neighbouring pixels of the input, too."""


@cache
def has_fast_kernel() -> bool:
    """Return whether XLA on this CPU calls a library (YNNPACK) for a convolution.

    Without the library, XLA computes the gradients of `lax_vjp`, and every convolution inside a loop, as
    naive loops. To find out, this function compiles a small convolution once in a process.
    """
    if jax.default_backend() != "cpu":
        return False
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 8, 8, 32), (3, 3, 32, 32))]
    conv = jax.jit(lambda x, kernel: conv2d_lax(x, kernel, (1, 1), ((1, 1), (1, 1)), (1, 1), 1))
    return "__ynn_fusion" in (conv.lower(*shapes).compile().as_text() or "")


def conv_wide(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_in c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute a convolution of one group by `lax.conv_general_dilated`, in a form for which XLA is fast.

    If there are few channels, two or three neighbouring pixels of the output are computed as one pixel with
    two or three times the features. The convolution kernel then is wider and contains zeros. Multiplying by
    them costs less time than a slow convolution. If the input has at most `NARROW` channels, its pixels are
    joined in the same way.
    """
    features = kernel.shape[3]
    out_size = conv_output_size(
        x.shape[1:3], kernel.shape[:2], strides=strides, padding=pads, dilation=dilation
    )
    width, pixels = out_size[1], FEW_CHANNELS // features + 1
    few = max(kernel.shape[2:]) <= FEW_CHANNELS and pixels <= min(MOST_PIXELS, width)
    if not few or dilation[1] > 1:
        return _conv_padded(x, kernel, strides, pads, dilation)
    step, count = strides[1], -(-width // pixels)
    block, left = pixels * step, pads[1][0]
    channels, zero = x.shape[3], jnp.zeros((), x.dtype)
    span = kernel.shape[1] + block - step  # the columns that the pixels see together
    if channels <= NARROW:
        span += -span % block
    shifted = [
        lax.pad(kernel, zero, ((0, 0, 0), (i, span - kernel.shape[1] - i, 0), (0, 0, 0), (0, 0, 0)))
        for i in range(0, block, step)
    ]
    kernel = lax.concatenate(shifted, 3)
    right = (count - 1) * block + span - left - x.shape[2]
    if channels <= NARROW:
        x = lax.pad(x, zero, ((0, 0, 0), (0, 0, 0), (left, right, 0), (0, 0, 0)))
        x = x.reshape(*x.shape[:2], -1, block * channels)
        kernel = kernel.reshape(kernel.shape[0], -1, block * channels, pixels * features)
        left, right, block = 0, 0, 1
    elif right < 0:
        x, right = x[:, :, :right], 0
    y = _conv_padded(x, kernel, (strides[0], block), (pads[0], (left, right)), dilation)
    return y.reshape(*y.shape[:2], count * pixels, features)[:, :, :width]


def _conv_padded(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair) -> Array:
    """Return the convolution, and pad the images before it if the output or the kernel is larger than them.

    In these cases XLA has no fast kernel that pads.
    """
    out_size = conv_output_size(
        x.shape[1:3], kernel.shape[:2], strides=strides, padding=pads, dilation=dilation
    )
    if any(max(n, k) > size for n, k, size in zip(out_size, kernel.shape, x.shape[1:3], strict=False)):
        # The barrier keeps XLA from moving the padding back into the convolution.
        x, pads = lax.optimization_barrier(pad2d(x, pads)), ((0, 0), (0, 0))
    return conv2d_lax(x, kernel, strides, pads, dilation, 1)
