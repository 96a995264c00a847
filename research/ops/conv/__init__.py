"""Two-dimensional convolution, by any of several algorithms that give the same numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from research.ops.conv.fft import conv2d_fft
from research.ops.conv.im2col import conv2d_im2col, conv_output_size
from research.ops.conv.lax import conv2d_lax
from research.ops.conv.lax_vjp import conv2d_lax_vjp
from research.ops.conv.shifted import conv2d_shifted
from research.ops.conv.winograd import conv2d_winograd2, conv2d_winograd4
from research.ops.padding import Array, Padding, Pads, Pair, Size, pad2d, pair, resolve_padding
from research.utils.lookup import lookup

ConvAlgorithm = Callable[..., Array]

WINOGRAD_CHANNELS = 16, 32
"""Fewest channels, of the side that has fewer and of the other, for which ``auto`` takes `winograd4`."""

WINOGRAD_TILE = 4
"""Fewest pixels of the output's height and width for which ``auto`` takes `winograd4`."""

CONV_ALGORITHMS: dict[str, ConvAlgorithm] = {
    "lax": conv2d_lax,
    "lax_vjp": conv2d_lax_vjp,
    "im2col": conv2d_im2col,
    "shifted": conv2d_shifted,
    "winograd2": conv2d_winograd2,
    "winograd4": conv2d_winograd4,
    "fft": conv2d_fft,
}


def conv2d(
    x: Array,
    kernel: Array,
    *,
    strides: Size = 1,
    padding: Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: Size = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    """Slide a kernel over images (cross-correlation, as in all deep learning: the kernel is not flipped).

    .. math:: y_{n,i,j,o} = \\sum_{a,b,c} x_{n,\\ i s + a d,\\ j s + b d,\\ c}\\; k_{a,b,c,o}

    on the padded image. With groups, the output features of a group see the input channels of that group.

    Args:
        x: images ``[N, H, W, C_in]``.
        kernel: ``[kh, kw, C_in // groups, C_out]``, the dtype of ``x``.
        strides: step of the window, an int or ``(rows, columns)``.
        padding: ``"SAME"``, ``"VALID"``, or pixels as in `resolve_padding`.
        padding_mode: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        dilation: distance between neighbouring kernel elements, an int or ``(rows, columns)``.
        groups: number of groups of channels; ``C_in`` makes it depthwise.
        algorithm: a name in `CONV_ALGORITHMS`, or ``auto``, see `choose`.

    Returns:
        ``[N, H_out, W_out, C_out]``, the dtype of ``x``.

    Raises:
        ValueError: shapes or arguments do not fit together, or the algorithm does not do what is asked for.
        TypeError: ``x`` and ``kernel`` differ in dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
        >>> kernel = jnp.eye(2).reshape(2, 2, 1, 1)
        >>> conv2d(x, kernel, padding="VALID")[0, :, :, 0].tolist()
        [[6.0, 8.0], [12.0, 14.0]]

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, section II.A.
    """
    _check(x, kernel, groups)
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    pads = resolve_padding(padding, x.shape[1:3], kernel.shape[:2], strides, dilation)
    chosen = choose(x, kernel, strides, pads, dilation, groups)
    algorithms = {"auto": CONV_ALGORITHMS[chosen], **CONV_ALGORITHMS}
    run = lookup(algorithms, algorithm, "convolution algorithm")
    if padding_mode != "zeros":
        x, pads = pad2d(x, pads, padding_mode), ((0, 0), (0, 0))
    return run(x, kernel, strides, pads, dilation, groups)


def choose(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int) -> str:
    """The algorithm that ``auto`` stands for, known while tracing.

    The compiler's own on GPU and TPU. On the CPU only algorithms made of dots, which are as fast inside a
    loop as outside and stay dots under ``vmap`` over kernels: ``winograd4`` where it applies, the channels
    are many enough to pay for its transforms and the output has a whole tile, else ``im2col``.
    `scripts/benchmark_conv.py` holds the rule against what it measures.

    Raises:
        ValueError: the window does not fit into the padded image.
    """
    out_size = conv_output_size(
        x.shape[1:3], kernel.shape[:2], strides=strides, padding=pads, dilation=dilation
    )
    if jax.default_backend() != "cpu":
        return "lax"
    plain = kernel.shape[:2] == (3, 3) and strides == dilation == (1, 1) and groups == 1
    enough = all(n >= least for n, least in zip(sorted(kernel.shape[2:]), WINOGRAD_CHANNELS, strict=True))
    enough = enough and min(out_size) >= WINOGRAD_TILE
    return "winograd4" if plain and enough and x.dtype == jnp.float32 else "im2col"


def _check(x: Array, kernel: Array, groups: int) -> None:
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(
            "x must be [N, H, W, C_in] and kernel [kh, kw, C_in // groups, C_out], "
            f"got shapes {x.shape} and {kernel.shape}"
        )
    if x.dtype != kernel.dtype:
        raise TypeError(f"x is {x.dtype}, kernel is {kernel.dtype}: they must be of one dtype")
    channels, (features_in, features_out) = x.shape[3], kernel.shape[2:]
    if groups < 1 or channels % groups or features_out % groups:
        raise ValueError(
            f"groups={groups} must divide the {channels} channels of x "
            f"and the {features_out} output features of kernel"
        )
    if features_in * groups != channels:
        raise ValueError(f"kernel has {features_in} input channels, x has {channels} (groups={groups})")
