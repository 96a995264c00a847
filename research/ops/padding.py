"""How much a window needs around an image, and what is put there."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from research.utils.lookup import lookup

Array = jax.Array
Size = int | Sequence[int]
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pair(value: Size, name: str) -> Pair:
    """Return ``value`` for height and width: an int stands for both.

    Raises:
        ValueError: not one or two positive ints; the message starts with ``name``.

    Example:
        >>> pair(3, "strides"), pair((1, 2), "strides")
        ((3, 3), (1, 2))
    """
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or any(not isinstance(v, int) or v < 1 for v in both):
        raise ValueError(f"{name} must be a positive int or a pair of them, got {value!r}")
    return both


def check_images(x: Array) -> None:
    """Raise ValueError unless ``x`` is ``[N, H, W, C]``."""
    if x.ndim != 4:
        raise ValueError(f"x must be [N, H, W, C], got shape {x.shape}")


def resolve_padding(
    padding: Padding, in_size: Size, kernel_size: Size, strides: Size = 1, dilation: Size = 1
) -> Pads:
    """Turn any way to ask for padding into pixels on each side.

    SAME gives ``ceil(in / stride)`` outputs, the odd pixel at the bottom and right:

    .. math:: p = \\max((\\lceil n/s \\rceil - 1)\\,s + (k - 1)\\,d + 1 - n,\\ 0)

    Args:
        padding: ``"SAME"``, ``"VALID"``, an int for all sides, ``(height, width)`` for both sides of each
            axis, or ``((top, bottom), (left, right))``, in pixels.
        in_size: height and width of the image, in pixels.
        kernel_size: height and width of the window.
        strides: step of the window.
        dilation: distance between neighbouring kernel elements.

    Returns:
        ``((top, bottom), (left, right))``.

    Raises:
        ValueError: another name, another number of values, or a negative one.

    Example:
        >>> resolve_padding("SAME", 5, 3), resolve_padding("SAME", 4, 3, strides=2), resolve_padding(1, 5, 3)
        (((1, 1), (1, 1)), ((0, 1), (0, 1)), ((1, 1), (1, 1)))
    """
    sizes = pair(in_size, "in_size"), pair(kernel_size, "kernel_size")
    steps = pair(strides, "strides"), pair(dilation, "dilation")
    if padding == "VALID":
        return (0, 0), (0, 0)
    if padding == "SAME":
        top_bottom, left_right = map(_same, *sizes, *steps)
        return top_bottom, left_right
    axes = (padding, padding) if isinstance(padding, int) else padding
    if not isinstance(axes, str) and len(axes) == 2:
        sides = [(axis, axis) if isinstance(axis, int) else tuple(axis) for axis in axes]
        if all(len(side) == 2 and all(isinstance(p, int) and p >= 0 for p in side) for side in sides):
            (top, bottom), (left, right) = sides
            return (top, bottom), (left, right)
    raise ValueError(
        'padding must be "SAME", "VALID", an int, (height, width) or ((top, bottom), (left, right)), '
        f"none of them negative; got {padding!r}"
    )


def _same(n: int, k: int, s: int, d: int) -> Pair:
    total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
    return total // 2, total - total // 2


def pad2d(x: Array, pads: Pads, mode: str = "zeros") -> Array:
    """Put a border around each image.

    Args:
        x: images ``[N, H, W, C]``.
        pads: ``((top, bottom), (left, right))`` in pixels, from `resolve_padding`.
        mode: ``zeros``; ``reflect`` mirrors about the edge pixel without repeating it; ``replicate`` repeats
            the edge pixel; ``circular`` continues on the other side.

    Returns:
        ``[N, top + H + bottom, left + W + right, C]``, the dtype of ``x``.

    Raises:
        ValueError: unknown mode.

    Example:
        >>> row = jnp.arange(3.0).reshape(1, 1, 3, 1)
        >>> pad2d(row, ((0, 0), (2, 1)), "reflect").ravel().tolist()
        [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]
    """
    numpy_mode = lookup(PADDING_MODES, mode, "padding mode")
    if pads == ((0, 0), (0, 0)):
        return x
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode=numpy_mode)
