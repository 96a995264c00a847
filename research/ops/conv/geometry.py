"""A convolution with gradients from two functions, and its arguments that are not arrays."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
from jax import Array
from jax.custom_batching import custom_vmap
from jaxtyping import Float

from research.ops.conv.gradient import Bilinear, make_bilinear, strided_input_gradient
from research.ops.conv.im2col import conv2d_im2col
from research.ops.conv.subpixel import subpixel_input_gradient
from research.ops.padding import Pads, Pair


class Geometry(NamedTuple):
    """The arguments of a convolution that are not arrays, and the sizes of its images and kernel."""

    in_size: Pair
    kernel_size: Pair
    strides: Pair
    pads: Pads
    dilation: Pair
    groups: int

    @classmethod
    def of(
        cls, x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int
    ) -> "Geometry":
        """Return the arguments of the convolution of these images and this kernel."""
        sizes = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
        return cls(*sizes, strides, pads, dilation, groups)


Convolve = Callable[[Geometry, Array, Array], Array]
"""A function of a geometry, images, and either a kernel or the gradient of the output."""


def _convolve_im2col(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """Convolve by `conv2d_im2col`."""
    return conv2d_im2col(x, kernel, *geometry[2:])


def make_convolution(
    geometry: Geometry, convolve: Convolve, weight_gradient: Convolve, otherwise: Convolve
) -> Bilinear:
    """Return the convolution of images and kernel, with its gradients.

    Under `vmap` over kernels it is `conv2d_im2col`.

    Args:
        geometry: the arguments of the convolution.
        convolve: the function that convolves, which also gives the gradient of the images.
        weight_gradient: the function of images and the gradient of the output that gives the gradient of the
            kernel.
        otherwise: the function that replaces `weight_gradient` under `vmap`.
    """
    by_im2col = partial(_convolve_im2col, geometry), partial(_input_gradient, _convolve_im2col, geometry)
    return make_bilinear(
        _unless_kernels_vary(partial(convolve, geometry), by_im2col[0]),
        _unless_kernels_vary(partial(_input_gradient, convolve, geometry), by_im2col[1]),
        _unless_mapped(partial(weight_gradient, geometry), partial(otherwise, geometry)),
    )


def _input_gradient(
    convolve: Convolve,
    geometry: Geometry,
    dy: Float[Array, "n h_out w_out c_out"],
    kernel: Float[Array, "kh kw c_group c_out"],
) -> Float[Array, "n h w c_in"]:
    """Return the gradient of the images.

    With strides above 1, one group and no dilation, the gradient is several convolutions of `dy`. Otherwise
    it is one convolution of `dy`, with zeros between the pixels of `dy` if there are strides.
    """
    in_size, _, strides, pads, dilation, groups = geometry

    def conv(dy: Array, kernel: Array, pads: Pads) -> Array:
        return convolve(geometry._replace(strides=(1, 1), pads=pads), dy, kernel)

    if groups == 1 and dilation == (1, 1) and max(strides) > 1:
        return subpixel_input_gradient(conv, dy, kernel, in_size, strides, pads)
    return strided_input_gradient(conv, dy, kernel, in_size, strides, pads, dilation, groups)


def _unless_kernels_vary(function: Bilinear, otherwise: Bilinear) -> Bilinear:
    """Return `function` of images and kernel, which becomes `otherwise` under `vmap` over kernels.

    Under `vmap` over the images alone, all images are one batch.
    """
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def _(size: int, in_batched: list[bool], images: Array, kernel: Array) -> tuple[Array, bool]:
        if in_batched[1]:
            return jax.vmap(otherwise, (0 if in_batched[0] else None, 0))(images, kernel), True
        y = mapped(images.reshape(size * images.shape[1], *images.shape[2:]), kernel)
        return y.reshape(size, images.shape[1], *y.shape[1:]), True

    return mapped


def _unless_mapped(function: Bilinear, otherwise: Bilinear) -> Bilinear:
    """Return `function` of images and gradients, which becomes `otherwise` under `vmap`."""
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def _(size: int, in_batched: list[bool], x: Array, dy: Array) -> tuple[Array, bool]:
        return jax.vmap(otherwise, [0 if batched else None for batched in in_batched])(x, dy), True

    return mapped
