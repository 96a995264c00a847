"""Convolution by the compiler."""

from jax import Array, lax
from jaxtyping import Float

from research.ops.padding import Pads, Pair


def conv2d_lax(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute `conv2d` by `lax.conv_general_dilated`, which is the fastest algorithm on GPU and TPU.

    On the CPU its gradients run as naive loops inside `lax.scan` (jax issue 12868).
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=pads,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
