"""Convolution by the compiler."""

from jax import lax

from research.ops.padding import Array, Pads, Pair


def conv2d_lax(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int) -> Array:
    """`conv2d` as ``lax.conv_general_dilated``: the fast one on GPU and TPU.

    On the CPU its gradients run as naive loops inside ``lax.scan`` (jax issue 12868).
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
