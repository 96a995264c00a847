"""The gradient of a convolution with respect to its input, which is a convolution too."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.padding import Pads, Pair


def input_gradient(
    conv: Callable[[Array, Array, Pads], Array],
    dy: Float[Array, "n h_out w_out c_out"],
    kernel: Float[Array, "kh kw c_group c_out"],
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h w c_in"]:
    r"""Return the gradient of the input of a convolution whose strides are 1.

    $$
    \frac{\partial L}{\partial x} = \mathrm{conv}(dy, \mathrm{flip}(k)^T)
    $$

    The padding of this convolution is $(k - 1)\,d - p$ on each side. Where that is negative, `dy` is cropped.

    Args:
        conv: the function `conv(x, kernel, pads)`, with the dilation and the groups of the convolution.
        dy: the gradient of the output `[N, H_out, W_out, C_out]`.
        kernel: the kernel `[kh, kw, C_in // groups, C_out]` of the convolution.
        pads: the padding of the convolution, in pixels.
        dilation: the dilation of the convolution.
        groups: the number of groups of the convolution.

    Returns:
        The gradient `[N, H, W, C_in]`, with the dtype of `dy`.
    """
    kh, kw, features_in, features_out = kernel.shape
    flipped = jnp.flip(kernel, (0, 1)).reshape(kh, kw, features_in, groups, features_out // groups)
    flipped = flipped.swapaxes(2, 4).reshape(kh, kw, features_out // groups, groups * features_in)
    reach = (kh - 1) * dilation[0], (kw - 1) * dilation[1]
    (top, bottom), (left, right) = ((r - low, r - high) for r, (low, high) in zip(reach, pads, strict=True))
    crop = [(0, 0, 0), (min(top, 0), min(bottom, 0), 0), (min(left, 0), min(right, 0), 0), (0, 0, 0)]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), crop)
    return conv(dy, flipped, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
