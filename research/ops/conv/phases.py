"""A convolution with dilation, as a convolution without dilation of more and smaller images."""

from collections.abc import Callable

from jax import Array
from jaxtyping import Float

from research.ops.padding import Pads, Pair, conv_output_size, pad2d


def dilated_by_phases(
    conv: Callable[[Array, Array, Pads], Array],
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    pads: Pads,
    dilation: Pair,
) -> Float[Array, "n h_out w_out c_out"]:
    """Return a convolution with dilation and strides of 1, by a convolution without dilation.

    Each element of the output is computed from pixels whose distances are multiples of the dilation. So the
    padded image is split into `dilation[0] * dilation[1]` smaller images, each of which has every
    `dilation[0]`-th row and every `dilation[1]`-th column. They are convolved without dilation.

    Args:
        conv: the function `conv(x, kernel, pads)`, which has strides and dilation of 1.
        x: the images.
        kernel: the kernel.
        pads: the padding in pixels.
        dilation: the dilation.

    Returns:
        The output `[N, H_out, W_out, C_out]`, with the dtype of the result of `conv`.
    """
    out_size = conv_output_size(x.shape[1:3], kernel.shape[:2], padding=pads, dilation=dilation)
    n, channels, (dh, dw) = x.shape[0], x.shape[3], dilation
    rows, columns = (-(-size // d) for size, d in zip(out_size, dilation, strict=True))
    high, wide = rows + kernel.shape[0] - 1, columns + kernel.shape[1] - 1
    (top, _), (left, _) = pads
    x = pad2d(x, ((top, dh * high - top - x.shape[1]), (left, dw * wide - left - x.shape[2])))
    x = x.reshape(n, high, dh, wide, dw, channels).transpose(0, 2, 4, 1, 3, 5)
    y = conv(x.reshape(n * dh * dw, high, wide, channels), kernel, ((0, 0), (0, 0)))
    y = y.reshape(n, dh, dw, rows, columns, y.shape[3]).transpose(0, 3, 1, 4, 2, 5)
    return y.reshape(n, rows * dh, columns * dw, y.shape[5])[:, : out_size[0], : out_size[1]]
