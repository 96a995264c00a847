"""The gradients of a convolution: that of its input is a convolution too, and all three are bilinear."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.padding import Pads, Pair

Bilinear = Callable[[Array, Array], Array]
"""A function of two arrays that is linear in each of them."""

Gradient = Callable[[Array, Array, Array], Array]
"""A function of the two arguments of a `Bilinear` and the cotangent of its result."""


def input_gradient(
    conv: Callable[[Array, Array, Pads], Array],
    dy: Float[Array, "n h_out w_out c_out"],
    kernel: Float[Array, "kh kw c_group c_out"],
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h w c_in"]:
    r"""Return the gradient of the input of a convolution whose strides are 1.

    $$
    \frac{\partial L}{\partial x} = \mathrm{conv}(dy, \mathrm{flip}(k)^T)
    $$

    The padding of this convolution is $(k - 1)\,d - p$ on each side. Where the padding is negative, `dy` is
    cropped.

    Args:
        conv: the function `conv(x, kernel, pads)`, with the dilation and the groups of the convolution.
        dy: the gradient of the output `[N, H_out, W_out, C_out]`.
        kernel: the kernel `[kh, kw, C_in // groups, C_out]` of the convolution.
        pads: the padding of the convolution, in pixels.
        dilation: the dilation of the convolution.
        groups: the number of groups of the convolution.

    Returns:
        The gradient `[N, H, W, C_in]`, with the dtype of `dy`.
    """
    kh, kw, features_in, features_out = kernel.shape
    flipped = jnp.flip(kernel, (0, 1)).reshape(kh, kw, features_in, groups, features_out // groups)
    flipped = flipped.swapaxes(2, 4).reshape(kh, kw, features_out // groups, groups * features_in)
    reach = (kh - 1) * dilation[0], (kw - 1) * dilation[1]
    (top, bottom), (left, right) = ((r - low, r - high) for r, (low, high) in zip(reach, pads, strict=True))
    dy, pads = crop(dy, ((top, bottom), (left, right)))
    return conv(dy, flipped, pads)


def crop(images: Float[Array, "n h w c"], pads: Pads) -> tuple[Float[Array, "n h_crop w_crop c"], Pads]:
    """Return the images, cropped on each side with a negative padding, and the padding that remains.

    Args:
        images: the images.
        pads: the padding in pixels, which may be negative.
    """
    widths = [(min(low, 0), min(high, 0), 0) for low, high in pads]
    images = lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *widths, (0, 0, 0)))
    (top, bottom), (left, right) = pads
    return images, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))


def strided_input_gradient(
    conv: Callable[[Array, Array, Pads], Array],
    dy: Float[Array, "n h_out w_out c_out"],
    kernel: Float[Array, "kh kw c_group c_out"],
    in_size: Pair,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h w c_in"]:
    """Return the gradient of the input of a convolution with any strides.

    It is the gradient of a convolution with strides of 1, for `dy` with zeros between its pixels.

    Args:
        conv: the function `conv(x, kernel, pads)` with strides of 1.
        dy: the gradient of the output `[N, H_out, W_out, C_out]`.
        kernel: the kernel `[kh, kw, C_in // groups, C_out]` of the convolution.
        in_size: the height and width of the input.
        strides: the strides of the convolution.
        pads: the padding of the convolution, in pixels.
        dilation: the dilation of the convolution.
        groups: the number of groups of the convolution.

    Returns:
        The gradient `[N, H, W, C_in]`, with the dtype of `dy`.
    """
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *((0, 0, s - 1) for s in strides), (0, 0, 0)))
    # With strides, the last window may end before the last pixel. So the padding at the bottom and right is
    # computed from the sizes. It may be smaller than the padding of the convolution, and even negative.
    (top, bottom), (left, right) = (
        (low, size + (k - 1) * d - n - low)
        for n, size, k, d, (low, _) in zip(
            in_size, dy.shape[1:3], kernel.shape[:2], dilation, pads, strict=True
        )
    )
    return input_gradient(conv, dy, kernel, ((top, bottom), (left, right)), dilation, groups)


def make_bilinear(forward: Bilinear, input_gradient: Bilinear, weight_gradient: Bilinear) -> Bilinear:
    """Return a convolution with gradients that are written by hand.

    The convolution and its two gradients are bilinear, so each of the three is a gradient of the other two.
    Reverse mode works to any order; forward mode is not available.

    Args:
        forward: the convolution of images and kernel.
        input_gradient: the gradient of the images, a function of the gradient of the output and the kernel.
        weight_gradient: the gradient of the kernel, a function of the images and the gradient of the output.

    Returns:
        The convolution of images and kernel.
    """
    conv = jax.custom_vjp(lambda x, kernel: forward(x, kernel))
    conv_dx = jax.custom_vjp(lambda dy, kernel: input_gradient(dy, kernel))
    conv_dkernel = jax.custom_vjp(lambda x, dy: weight_gradient(x, dy))

    def defvjp(function: Any, first: Gradient, second: Gradient) -> None:
        """Define the gradients of `function` by two functions of both arguments and the cotangent."""
        function.defvjp(
            lambda a, b: (function(a, b), (a, b)),
            lambda saved, g: (first(saved[0], saved[1], g), second(saved[0], saved[1], g)),
        )

    defvjp(conv, lambda x, k, dy: conv_dx(dy, k), lambda x, k, dy: conv_dkernel(x, dy))
    defvjp(conv_dx, lambda dy, k, dx: conv(dx, k), lambda dy, k, dx: conv_dkernel(dx, dy))
    defvjp(conv_dkernel, lambda x, dy, dk: conv_dx(dy, dk), lambda x, dy, dk: conv(x, dk))
    return conv
