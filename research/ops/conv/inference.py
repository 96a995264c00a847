"""The choice of an algorithm for a convolution whose gradients are not needed."""

import math

from research.ops.conv.onednn_call import ONEDNN_FLOPS, has_onednn
from research.ops.padding import Pair

WIDE = 64
"""Winograd's algorithm is chosen only if both numbers of channels are at least this."""

MANY_TILES = 16
"""The number of tiles of 4 by 4 pixels in a batch from which `winograd4` is faster than `winograd2`."""


def choose_inference_algorithm(
    num_images: int,
    out_size: Pair,
    kernel_shape: tuple[int, ...],
    strides: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> str:
    """Return the name of the algorithm that is fastest on the CPU outside of a loop, without gradients.

    It is Winograd's algorithm for 3×3 kernels with many channels. For other convolutions above 1×1 it is
    `onednn`, if they are not small (`ONEDNN_FLOPS`) and XLA contains oneDNN, and `lax` otherwise.
    `docs/benchmarks/inference.md` compares this choice with the measured times.

    Args:
        num_images: the number of images.
        out_size: the height and width of the output.
        kernel_shape: `(kh, kw, C_in, C_out)`.
        strides: the step of the window.
        dilation: the distance of neighbouring kernel elements.

    Example:
        >>> choose_inference_algorithm(1, (32, 32), (3, 3, 64, 64))
        'winograd4'
        >>> choose_inference_algorithm(1, (32, 32), (3, 3, 16, 16))
        'lax'
    """
    is_wide = min(kernel_shape[2:]) >= WIDE
    if kernel_shape[:2] == (3, 3) and strides == dilation == (1, 1) and is_wide:
        tiles = num_images * math.prod(-(-size // 4) for size in out_size)
        return "winograd4" if tiles >= MANY_TILES else "winograd2"
    return direct_algorithm(num_images, out_size, kernel_shape)


def direct_algorithm(num_images: int, out_size: Pair, kernel_shape: tuple[int, ...]) -> str:
    """Return the fastest algorithm outside of a loop that does not transform images: `onednn` or `lax`."""
    flops = 2 * num_images * math.prod(out_size) * math.prod(kernel_shape)
    return "onednn" if kernel_shape[:2] != (1, 1) and flops >= ONEDNN_FLOPS and has_onednn() else "lax"
