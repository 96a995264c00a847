"""The gradient of the input of a convolution with strides, as convolutions without strides."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from research.ops.conv.gradient import crop
from research.ops.padding import Pads, Pair


def subpixel_input_gradient(
    conv: Callable[[Array, Array, Pads], Array],
    dy: Float[Array, "n h_out w_out c_out"],
    kernel: Float[Array, "kh kw c_in c_out"],
    in_size: Pair,
    strides: Pair,
    pads: Pads,
) -> Float[Array, "n h w c_in"]:
    r"""Return the gradient of the input of a convolution with strides, one group and no dilation.

    Consider the pixels of the input whose row and column leave the same remainders $r$ when divided by the
    strides $s$. All of them are multiplied by the same elements of the kernel, so their gradients are a
    convolution of `dy` with these elements ($p$ is the padding):

    $$
    dx_{s q + r} = \sum_j dy_{q + j}\; k_{r + p - s j}
    $$

    There is one such convolution for each pair of remainders of row and column.

    Args:
        conv: the function `conv(x, kernel, pads)`, which has strides and dilation of 1.
        dy: the gradient of the output.
        kernel: the kernel of the convolution.
        in_size: the height and width of the input.
        strides: the strides of the convolution.
        pads: the padding of the convolution, in pixels.

    Returns:
        The gradient `[N, H, W, C_in]`, with the dtype of `dy`.
    """
    (height, width), channels = in_size, kernel.shape[2]
    steps = -(-height // strides[0]), -(-width // strides[1])

    def part(*remainders: int) -> Array:
        """Return the gradient of the pixels with these remainders, `[N, *steps, C_in]`."""
        taps, sides = kernel, []
        for axis, (r, stride, (pad, _)) in enumerate(zip(remainders, strides, pads, strict=True)):
            first = (r + pad) % stride
            taps = jnp.flip(taps[(slice(None),) * axis + (slice(first, None, stride),)], axis)
            count = taps.shape[axis]
            # The first of these gradients needs as many pixels before the first pixel of dy. If the number is
            # negative, dy is cropped.
            low = count - 1 - (r + pad) // stride
            sides.append((low, steps[axis] + count - 1 - dy.shape[1 + axis] - low))
        if 0 in taps.shape:
            return jnp.zeros_like(dy, shape=(dy.shape[0], *steps, channels))
        vertical, horizontal = sides
        seen, rest = crop(dy, (vertical, horizontal))
        return conv(seen, taps.swapaxes(2, 3), rest)

    rows = [jnp.stack([part(row, column) for column in range(strides[1])], 3) for row in range(strides[0])]
    dx = jnp.stack(rows, 2).reshape(dy.shape[0], steps[0] * strides[0], steps[1] * strides[1], channels)
    return dx[:, :height, :width]
