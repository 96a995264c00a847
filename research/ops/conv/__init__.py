"""Two-dimensional convolution by any of several algorithms, which give the same result up to rounding."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from research.ops.conv.algorithm import ConvAlgorithm
from research.ops.conv.depthwise import MAX_CHANNELS, conv2d_depthwise
from research.ops.conv.fast import has_fast_kernel
from research.ops.conv.fft import conv2d_fft
from research.ops.conv.im2col import conv2d_im2col
from research.ops.conv.lax import conv2d_lax
from research.ops.conv.lax_vjp import conv2d_lax_vjp
from research.ops.conv.onednn import conv2d_onednn
from research.ops.conv.onednn_call import ONEDNN_FLOPS, ONEDNN_GROUPED_FLOPS, has_onednn
from research.ops.conv.shifted import conv2d_shifted
from research.ops.conv.winograd import conv2d_winograd2, conv2d_winograd4
from research.ops.padding import Padding, Pads, Pair, Size, conv_output_size, pad2d, pair, resolve_padding
from research.ops.precision import as_float
from research.utils.lookup import lookup
from research.utils.plain import plain

WINOGRAD_CHANNELS = 12
"""`auto` picks `winograd4` only if both C_in and C_out are at least this."""

WINOGRAD_PRODUCTS = 576
"""`auto` picks `winograd4` only if C_in * C_out is at least this."""

ONEDNN_PRODUCTS = 1024
"""`auto` picks `winograd4` instead of `onednn` only if C_in * C_out is at least this."""

WINOGRAD_TILE = 4
"""`auto` picks `winograd4` only if the output has at least 4 rows and 4 columns of pixels."""

CONV_ALGORITHMS: dict[str, ConvAlgorithm] = {
    "lax": conv2d_lax,
    "lax_vjp": conv2d_lax_vjp,
    "onednn": conv2d_onednn,
    "im2col": conv2d_im2col,
    "shifted": conv2d_shifted,
    "depthwise": conv2d_depthwise,
    "winograd2": conv2d_winograd2,
    "winograd4": conv2d_winograd4,
    "fft": conv2d_fft,
}
"""The convolution algorithms by the name that a layer, a model or a configuration gives."""


def conv2d(
    x: Float[ArrayLike, "n h w c_in"],
    kernel: Float[ArrayLike, "kh kw c_group c_out"],
    *,
    strides: Size = 1,
    padding: Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: Size = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Float[Array, "n h_out w_out c_out"]:
    r"""Convolve images with a kernel.

    As everywhere in deep learning, this is the cross-correlation, in which the kernel is not flipped:

    $$
    y_{n,i,j,o} = \sum_{a,b,c} x_{n,\ i s + a d,\ j s + b d,\ c}\; k_{a,b,c,o}
    $$

    on the padded image. With groups, the output features of a group see only the input channels of that
    group.

    Args:
        x: the images `[N, H, W, C_in]`.
        kernel: the kernel `[kh, kw, C_in // groups, C_out]`, with the dtype of `x`.
        strides: the step of the window in pixels, an int or `(rows, columns)`.
        padding: the padding, `"SAME"`, `"VALID"` or pixels, in any form that `resolve_padding` reads.
        padding_mode: what the border holds: `zeros`, `reflect`, `symmetric`, `replicate` or `circular`.
        dilation: the distance in pixels between neighbouring kernel elements, an int or `(rows, columns)`.
        groups: the number of groups of channels; `C_in` groups make the convolution depthwise.
        algorithm: a name in `CONV_ALGORITHMS`, or `auto` for the one that `choose_algorithm` returns.

    Returns:
        The output `[N, H_out, W_out, C_out]`, with the dtype of `x`.

    Raises:
        ValueError: shapes or arguments do not fit together, or the algorithm does not support the arguments.
        TypeError: `x` and `kernel` differ in dtype, or do not hold floating point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
        >>> kernel = jnp.eye(2).reshape(2, 2, 1, 1)
        >>> conv2d(x, kernel, padding="VALID")[0, :, :, 0].tolist()
        [[6.0, 8.0], [12.0, 14.0]]

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, section II.A.
    """
    x, kernel, groups = as_float(x), as_float(kernel), plain(groups)
    _check(x, kernel, groups)
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    pads = resolve_padding(padding, x.shape[1:3], kernel.shape[:2], strides, dilation)
    conv_output_size(x.shape[1:3], kernel.shape[:2], strides=strides, padding=pads, dilation=dilation)
    lookup({"auto": None, **CONV_ALGORITHMS}, algorithm, "convolution algorithm")
    if algorithm == "auto":
        algorithm = choose_algorithm(x, kernel, strides, pads, dilation, groups)
    if padding_mode != "zeros":
        x, pads = pad2d(x, pads, padding_mode), ((0, 0), (0, 0))
    return CONV_ALGORITHMS[algorithm](x, kernel, strides, pads, dilation, groups)


def choose_algorithm(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> str:
    """Return the name of the algorithm that `auto` stands for. It is known while tracing.

    On GPU and TPU this is `lax`. On the CPU it is an algorithm that is as fast inside a loop as outside, and
    that uses dots or arithmetic on whole images under `vmap` over kernels. It is the first of these that
    applies:

    - `im2col` for 1×1 kernels with one group, and in other dtypes than float32 unless the groups are small;
    - `winograd4` for 3×3 kernels with one group and strides of 1, if there are enough channels
      (`WINOGRAD_CHANNELS`, `WINOGRAD_PRODUCTS`, `ONEDNN_PRODUCTS`), enough pixels (`WINOGRAD_TILE`), and at
      least as many tiles in the batch as channels on the smaller side;
    - `onednn` for convolutions that are not small (`ONEDNN_FLOPS`, `ONEDNN_GROUPED_FLOPS`), if XLA contains
      oneDNN;
    - `depthwise` for groups of at most `MAX_CHANNELS` channels and features;
    - `lax_vjp` for one group, if XLA has a fast kernel on this CPU;
    - `im2col` otherwise.

    The command `benchmark-conv` compares this choice with the measured times.

    Raises:
        ValueError: the window does not fit into the padded image.
    """
    out_size = conv_output_size(
        x.shape[1:3], kernel.shape[:2], strides=strides, padding=pads, dilation=dilation
    )
    if jax.default_backend() != "cpu":
        return "lax"
    is_float32 = x.dtype == jnp.float32
    flops = 2 * x.shape[0] * math.prod(out_size) * kernel.size
    is_small = flops < (ONEDNN_GROUPED_FLOPS if groups > 1 else ONEDNN_FLOPS)
    by_onednn = is_float32 and not is_small and has_onednn()
    if groups > 1:
        is_narrow = max(kernel.shape[2], kernel.shape[3] // groups) <= MAX_CHANNELS
        return "onednn" if by_onednn else "depthwise" if is_narrow else "im2col"
    if not is_float32 or kernel.shape[:2] == (1, 1):
        return "im2col"
    fewest, most = sorted(kernel.shape[2:])
    tiles = x.shape[0] * math.prod(-(-n // WINOGRAD_TILE) for n in out_size)
    products = ONEDNN_PRODUCTS if by_onednn else WINOGRAD_PRODUCTS
    enough = fewest >= WINOGRAD_CHANNELS and fewest * most >= products
    enough = enough and min(out_size) >= WINOGRAD_TILE and tiles >= fewest
    if kernel.shape[:2] == (3, 3) and strides == (1, 1) and enough:
        return "winograd4"
    if by_onednn:
        return "onednn"
    return "lax_vjp" if has_fast_kernel() else "im2col"


def _check(x: Float[Array, "..."], kernel: Float[Array, "..."], groups: int) -> None:
    """Raise a ValueError or TypeError unless images, kernel and groups fit together."""
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(
            "x must be [N, H, W, C_in] and kernel [kh, kw, C_in // groups, C_out], "
            f"got shapes {x.shape} and {kernel.shape}"
        )
    if x.dtype != kernel.dtype:
        raise TypeError(f"x is {x.dtype}, kernel is {kernel.dtype}: they must be of one dtype")
    channels, (features_in, features_out) = x.shape[3], kernel.shape[2:]
    if channels == 0:
        raise ValueError(f"x must have at least one channel, got shape {x.shape}")
    if groups < 1 or channels % groups or features_out % groups:
        raise ValueError(
            f"groups={groups} must divide the {channels} channels of x "
            f"and the {features_out} output features of kernel"
        )
    if features_in * groups != channels:
        raise ValueError(f"kernel has {features_in} input channels, x has {channels} (groups={groups})")
