"""The input gradient of a convolution, which is a convolution."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from research.ops.padding import Array, Pads, Pair


def input_gradient(
    conv: Callable[[Array, Array, Pads], Array],
    dy: Array,
    kernel: Array,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Array:
    """Gradient of a convolution's input, for strides of one.

    .. math:: \\frac{\\partial L}{\\partial x} = \\mathrm{conv}(dy, \\mathrm{flip}(k)^T)

    with the padding ``(k - 1) d - p`` on each side; where that is negative, ``dy`` is cropped.

    Args:
        conv: ``conv(x, kernel, pads)`` with the same dilation and groups.
        dy: gradient of the output ``[N, H_out, W_out, C_out]``.
        kernel: ``[kh, kw, C_in // groups, C_out]``.
        pads, dilation, groups: of the convolution.

    Returns:
        ``[N, H, W, C_in]``, the dtype of ``dy``.
    """
    kh, kw, features_in, features_out = kernel.shape
    flipped = jnp.flip(kernel, (0, 1)).reshape(kh, kw, features_in, groups, features_out // groups)
    flipped = flipped.swapaxes(2, 4).reshape(kh, kw, features_out // groups, groups * features_in)
    reach = (kh - 1) * dilation[0], (kw - 1) * dilation[1]
    (top, bottom), (left, right) = ((r - low, r - high) for r, (low, high) in zip(reach, pads, strict=True))
    crop = [(0, 0, 0), (min(top, 0), min(bottom, 0), 0), (min(left, 0), min(right, 0), 0), (0, 0, 0)]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), crop)
    return conv(dy, flipped, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
