"""A convolution by oneDNN, which XLA on x86 processors contains."""

import json
import platform
import warnings
from functools import cache

import jax
import jax.numpy as jnp
from jax import Array
from jax.errors import JaxRuntimeError
from jaxtyping import Float

from research.ops.padding import Pads, Pair, conv_output_size

TARGET = "__onednn$convolution"
"""The name by which XLA on the CPU calls the convolution of oneDNN."""

KNOWN_JAX = (0, 10, 1), (0, 13, 0)
"""The first version of JAX with which the call was tested, and the first with which it was not.

XLA promises nothing about the call, and a call that oneDNN does not understand ends the process.
"""

ONEDNN_FLOPS, ONEDNN_GROUPED_FLOPS = 50e6, 5e6
"""`onednn` is chosen only for convolutions with at least this many floating-point operations.

The second number is for convolutions with groups, which do fewer operations for each pixel that they read.

JAX cannot store a compiled program that calls oneDNN, so each process compiles it again. This costs a small
network more time than faster convolutions save.
"""


@cache
def has_onednn() -> bool:
    """Return whether XLA on this CPU can call the convolution of oneDNN.

    To find out, this function compiles a small convolution once in a process.
    """
    known = KNOWN_JAX[0] <= jax.__version_info__ < KNOWN_JAX[1]
    if jax.default_backend() != "cpu" or not known or platform.machine() not in ("x86_64", "AMD64"):
        return False
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 4, 4, 2), (1, 1, 2, 2))]
    try:
        jax.jit(lambda x, kernel: call_onednn(x, kernel, (1, 1), ((0, 0), (0, 0)))).lower(*shapes).compile()
    except (JaxRuntimeError, MemoryError):  # no oneDNN, or a program that JAX cannot store is an error
        return False
    return True


def call_onednn(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "..."],
    strides: Pair,
    pads: Pads,
    dilation: Pair = (1, 1),
    groups: int = 1,
    kernel_axes: tuple[int, int, int, int] = (0, 1, 2, 3),
) -> Float[Array, "n h_out w_out c_out"]:
    """Return the convolution of images and kernel by oneDNN. It has no gradient.

    Args:
        x: the images, in float32, with at least one element.
        kernel: the kernel, in float32.
        strides: the step of the window.
        pads: the padding in pixels, at least 0.
        dilation: the distance between neighbouring kernel elements.
        groups: the number of groups of channels.
        kernel_axes: the axes of `kernel` for its height, its width, its input channels and its features.
    """
    # XLA cannot store a program that calls oneDNN, so each process compiles it again.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry.*std::bad_alloc")
    axes = {"batch_dim": "0", "feature_dim": "3", "spatial_dims": ["1", "2"]}
    kh, kw, channels, features = kernel_axes
    (top, bottom), (left, right) = pads
    config = {
        "dims": "4",
        "feature_groups": str(groups),
        "input": {"dims": "0", "data": axes},
        "output": {"dims": "0", "data": axes},
        "kernel": {
            "dims": "0",
            "filter": {
                "input_feature_dim": str(channels),
                "output_feature_dim": str(features),
                "spatial_dims": [str(kh), str(kw)],
                "shape": [str(size) for size in kernel.shape],
            },
        },
        "window": {
            "size": [],
            "pad_left": [str(top), str(left)],
            "pad_right": [str(bottom), str(right)],
            "strides": [str(stride) for stride in strides],
            "window_dilations": [str(step) for step in dilation],
        },
    }
    size = kernel.shape[kh], kernel.shape[kw]
    out_size = conv_output_size(x.shape[1:3], size, strides=strides, padding=pads, dilation=dilation)
    # Under shard_map, the result varies over the same devices as a product of images and kernel.
    product = jax.eval_shape(lambda x, kernel: x.ravel()[0] * kernel.ravel()[0], x, kernel)
    result = product.update(shape=(x.shape[0], *out_size, kernel.shape[features]))
    call = jax.ffi.ffi_call(
        TARGET,
        result,
        custom_call_api_version=2,
        legacy_backend_config=json.dumps({"onednn_conv_config": config}),
    )
    return call(x, kernel)
