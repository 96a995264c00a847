"""The geometry of a sliding window: its strides, the padding of the image and the size of the output."""

from collections.abc import Sequence
from typing import SupportsIndex

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Shaped

from research.utils.lookup import lookup
from research.utils.plain import plain

Size = SupportsIndex | Sequence[SupportsIndex]
"""One number for height and width, or one for each in a tuple or list. Integers of NumPy are numbers too."""

Pair = tuple[int, int]
"""One number for the height and one for the width."""

Pads = tuple[Pair, Pair]
"""The pixels that are added, `((top, bottom), (left, right))`."""

Padding = str | Size | Sequence[Sequence[SupportsIndex]]
"""Padding in any of the forms that `resolve_padding` reads."""

PADDING_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}
"""The names of the padding modes, each with the name that `jnp.pad` has for it."""


def pair(value: Size, name: str) -> Pair:
    """Return `value` for height and width; one number stands for both.

    Args:
        value: a positive number, or two of them.
        name: the name of the argument, with which the error begins.

    Raises:
        ValueError: `value` is not one or two positive ints.

    Example:
        >>> pair(3, "strides"), pair((1, 2), "strides")
        ((3, 3), (1, 2))
    """
    given = plain(value)
    both = given if isinstance(given, tuple) else (given, given)
    if len(both) != 2 or any(type(v) is not int or v < 1 for v in both):
        raise ValueError(f"{name} must be a positive int or a pair of them, got {value!r}")
    return both


def as_images(x: Shaped[ArrayLike, "..."]) -> Shaped[Array, "n h w c"]:
    """Return `x` as an array of JAX, and raise a ValueError unless it is `[N, H, W, C]`."""
    x = jnp.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"x must be [N, H, W, C], got shape {x.shape}")
    return x


def resolve_padding(
    padding: Padding, in_size: Size, kernel_size: Size, strides: Size = 1, dilation: Size = 1
) -> Pads:
    r"""Return the number of pixels to add on each side, for any form of `padding`.

    `"SAME"` gives `ceil(in / stride)` outputs along an axis. If the total is odd, the last pixel is added at
    the bottom or right:

    $$
    p = \max((\lceil n/s \rceil - 1)\,s + (k - 1)\,d + 1 - n,\ 0)
    $$

    Args:
        padding: `"SAME"`, `"VALID"`, an int for all sides, `(height, width)` for both sides of each axis, or
            `((top, bottom), (left, right))`, in pixels.
        in_size: the height and width of the image, in pixels.
        kernel_size: the height and width of the window.
        strides: the step of the window, in pixels.
        dilation: the distance between neighbouring kernel elements, in pixels.

    Returns:
        The pixels `((top, bottom), (left, right))`.

    Raises:
        ValueError: `padding` is another name, another number of values, or negative.

    Example:
        >>> resolve_padding("SAME", 5, 3), resolve_padding("SAME", 4, 3, strides=2), resolve_padding(1, 5, 3)
        (((1, 1), (1, 1)), ((0, 1), (0, 1)), ((1, 1), (1, 1)))
    """
    sizes = pair(in_size, "in_size"), pair(kernel_size, "kernel_size")
    steps = pair(strides, "strides"), pair(dilation, "dilation")
    given = plain(padding)
    if given == "VALID":
        return (0, 0), (0, 0)
    if given == "SAME":
        top_bottom, left_right = map(_same, *sizes, *steps)
        return top_bottom, left_right
    axes = given if isinstance(given, tuple) else (given, given)
    if len(axes) == 2:
        sides = [axis if isinstance(axis, tuple) else (axis, axis) for axis in axes]
        if all(len(side) == 2 and all(isinstance(p, int) and p >= 0 for p in side) for side in sides):
            (top, bottom), (left, right) = sides
            return (top, bottom), (left, right)
    raise ValueError(
        'padding must be "SAME", "VALID", an int, (height, width) or ((top, bottom), (left, right)), '
        f"none of them negative; got {padding!r}"
    )


def _same(n: int, k: int, s: int, d: int) -> Pair:
    """Return the padding of one axis for `"SAME"`, from image size, kernel size, stride and dilation."""
    total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
    return total // 2, total - total // 2


def conv_output_size(
    in_size: Size, kernel_size: Size, *, strides: Size = 1, padding: Padding = "SAME", dilation: Size = 1
) -> Pair:
    r"""Return the height and width of the output of a window that slides over an image.

    $$
    \lfloor (n + p - (k - 1)\,d - 1) / s \rfloor + 1
    $$

    where $p$ is the padding of both sides together.

    Args:
        in_size: the height and width of the image, in pixels.
        kernel_size: the height and width of the kernel or of the pooling window.
        strides: the step of the window, in pixels.
        padding: the padding, in any form that `resolve_padding` reads.
        dilation: the distance between neighbouring kernel elements, in pixels.

    Raises:
        ValueError: the window does not fit into the padded image.

    Example:
        >>> conv_output_size((28, 28), 3, strides=2), conv_output_size((28, 28), 3, padding="VALID")
        ((14, 14), (26, 26))
    """
    in_size, kernel_size = pair(in_size, "in_size"), pair(kernel_size, "kernel_size")
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    pads = resolve_padding(padding, in_size, kernel_size, strides, dilation)
    height, width = (n + low + high for n, (low, high) in zip(in_size, pads, strict=True))
    rows, columns = ((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))
    if rows > height or columns > width:
        raise ValueError(f"window spans {rows}x{columns} pixels, the padded image has {height}x{width}")
    return (height - rows) // strides[0] + 1, (width - columns) // strides[1] + 1


def pad2d(
    x: Shaped[ArrayLike, "n h w c"], pads: Pads, mode: str = "zeros"
) -> Shaped[Array, "n h_pad w_pad c"]:
    """Add a border around each image.

    Args:
        x: the images `[N, H, W, C]`.
        pads: the width of the border `((top, bottom), (left, right))` in pixels, from `resolve_padding`.
        mode: what the border holds. `zeros` fills it with zeros; `reflect` mirrors the image about its edge
            pixel without repeating that pixel; `symmetric` mirrors the image about its edge, so that the edge
            pixel is repeated; `replicate` repeats the edge pixel alone; `circular` continues with the
            opposite side of the image.

    Returns:
        The images `[N, top + H + bottom, left + W + right, C]`, with the dtype of `x`.

    Raises:
        ValueError: `mode` is unknown.

    Example:
        >>> row = jnp.arange(3.0).reshape(1, 1, 3, 1)
        >>> pad2d(row, ((0, 0), (2, 1)), "reflect").ravel().tolist()
        [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]
        >>> pad2d(row, ((0, 0), (2, 1)), "symmetric").ravel().tolist()
        [1.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    """
    x, numpy_mode = jnp.asarray(x), lookup(PADDING_MODES, mode, "padding mode")
    if pads == ((0, 0), (0, 0)):
        return x
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode=numpy_mode)
