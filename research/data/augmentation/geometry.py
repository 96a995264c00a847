"""Geometric augmentations: each draws a matrix for an image; see `warp` for how matrices are combined."""

import functools
from typing import Annotated

import jax
import jax.numpy as jnp

from research.data.augmentation.base import GreyLevel, Probability, draw_between, draw_factor
from research.data.augmentation.warp import (
    Sampling,
    Shape,
    Warp,
    affine_matrix,
    corners_matrix,
    multiply,
    rotation_matrix,
    shear_matrix,
    shift_matrix,
    zoom_matrix,
)
from research.utils.constraints import Between, OneOf

Interpolation = Annotated[str, OneOf(("nearest", "bilinear"))]
Border = Annotated[str, OneOf(("constant", "edge", "reflect", "wrap"))]
Padding = Annotated[int, Between(0, 256)]
Share = Annotated[float, Between(0, 1)]
Angle = Annotated[float, Between(0, 180)]
ShearAngle = Annotated[float, Between(0, 80)]
Factor = Annotated[float, Between(1, 10)]


def flip(*, probability: Probability = 0.5) -> Warp:
    """Return the augmentation that mirrors an image left to right.

    Args:
        probability: the probability with which an image is mirrored.

    Example:
        >>> flip(probability=1.0)(jax.random.key(0), jnp.arange(3).reshape(1, 3, 1)).ravel().tolist()
        [2, 1, 0]
    """
    return Warp(
        lambda key, shape: affine_matrix(-1, 0, 0, 0, 1, 0),
        probability,
        sampling=None,
        move=lambda key, image: image[:, ::-1],
    )


def flip_vertical(*, probability: Probability = 0.5) -> Warp:
    """Return the augmentation that mirrors an image upside down.

    Args:
        probability: the probability with which an image is mirrored.

    Example:
        >>> image = jnp.arange(3).reshape(3, 1, 1)
        >>> flip_vertical(probability=1.0)(jax.random.key(0), image).ravel().tolist()
        [2, 1, 0]
    """
    return Warp(
        lambda key, shape: affine_matrix(1, 0, 0, 0, -1, 0),
        probability,
        sampling=None,
        move=lambda key, image: image[::-1],
    )


def crop(
    *,
    padding: Padding = 4,
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that pads an image on each side and cuts an image of the old size out of it.

    The place is drawn uniformly, so this moves an image by up to `padding` whole pixels in each direction.

    Args:
        padding: the number of pixels that are added on each side.
        border: what the added pixels hold: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level of the added pixels, for `constant`.
        probability: the probability with which an image is changed.

    Example:
        >>> crop(padding=2)(jax.random.key(0), jnp.ones((8, 8, 1))).shape
        (8, 8, 1)

    Source: He et al., Deep Residual Learning for Image Recognition, 2016, section 4.2.
    """

    def corner(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (2,), 0, 2 * padding + 1)

    def draw(key: jax.Array, shape: Shape) -> jax.Array:
        top, left = (corner(key) - padding).astype(jnp.float32)
        return shift_matrix(-left, -top)

    def move(key: jax.Array, image: jax.Array) -> jax.Array:
        values = {"constant_values": jnp.asarray(fill, image.dtype)} if border == "constant" else {}
        padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)), border, **values)
        top, left = corner(key)
        return jax.lax.dynamic_slice(padded, (top, left, jnp.zeros_like(top)), image.shape)

    return Warp(draw, probability, Sampling("bilinear", border, fill), move)


def shift(
    *,
    share: Share = 0.1,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that moves an image by a part of its width and of its height.

    Args:
        share: the largest part; both parts are drawn uniformly from [-share, share].
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.
    """

    def draw(key: jax.Array, shape: Shape) -> jax.Array:
        height, width = shape
        right, down = jax.random.uniform(key, (2,), jnp.float32, -share, share)
        return shift_matrix(right * width, down * height)

    return Warp(draw, probability, Sampling(interpolation, border, fill))


def rotate(
    *,
    degrees: Angle = 15.0,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that turns an image about its centre.

    Args:
        degrees: the largest angle; the angle is drawn uniformly from [-degrees, degrees].
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.
    """
    return Warp(
        lambda key, shape: rotation_matrix(draw_between(key, -degrees, degrees)),
        probability,
        Sampling(interpolation, border, fill),
    )


def zoom(
    *,
    factor: Factor = 1.2,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that enlarges or shrinks an image about its centre.

    Args:
        factor: the largest factor; the logarithm of the factor is drawn uniformly, from 1/factor to factor.
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.
    """
    return Warp(
        lambda key, shape: zoom_matrix(draw_factor(key, factor)),
        probability,
        Sampling(interpolation, border, fill),
    )


def shear(
    *,
    degrees: ShearAngle = 10.0,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that tilts the vertical lines of an image.

    Args:
        degrees: the largest angle; the angle is drawn uniformly from [-degrees, degrees].
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.
    """
    return Warp(
        lambda key, shape: shear_matrix(draw_between(key, -degrees, degrees)),
        probability,
        Sampling(interpolation, border, fill),
    )


def affine(
    *,
    degrees: Angle = 15.0,
    share: Share = 0.1,
    factor: Factor = 1.1,
    shear_degrees: ShearAngle = 10.0,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that zooms, shears, rotates and then shifts an image, as one matrix.

    Args:
        degrees: the largest angle of the rotation, as for `rotate`.
        share: the largest shift as a part of width and height, as for `shift`.
        factor: the largest factor, as for `zoom`.
        shear_degrees: the largest angle of the shear, as for `shear`.
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.
    """
    parts = (zoom(factor=factor), shear(degrees=shear_degrees), rotate(degrees=degrees), shift(share=share))

    def draw(key: jax.Array, shape: Shape) -> jax.Array:
        keys = jax.random.split(key, len(parts))
        matrices = (part.draw(keys[index], shape) for index, part in enumerate(parts))
        return functools.reduce(multiply, matrices)

    return Warp(draw, probability, Sampling(interpolation, border, fill))


def perspective(
    *,
    distortion: Annotated[float, Between(0, 0.5)] = 0.2,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 0.5,
) -> Warp:
    """Return the augmentation that moves the corners of an image, as if it were seen from another place.

    Args:
        distortion: the largest distance by which a corner moves, as a part of half the width and height; each
            distance is drawn uniformly from [-distortion, distortion].
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.
    """

    def draw(key: jax.Array, shape: Shape) -> jax.Array:
        half = jnp.array([[shape[1] / 2, shape[0] / 2]], jnp.float32)
        corners = jnp.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], jnp.float32)
        moved = corners + jax.random.uniform(key, (4, 2), jnp.float32, -distortion, distortion)
        return corners_matrix(moved * half, shape)

    return Warp(draw, probability, Sampling(interpolation, border, fill))


def resized_crop(
    *,
    scale: Annotated[float, Between(0.01, 1)] = 0.5,
    ratio: Factor = 4 / 3,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Warp:
    """Return the augmentation that cuts out a rectangle and resizes it to the size of the image.

    Args:
        scale: the smallest part of the area that is cut out; the part is drawn uniformly from [scale, 1].
        ratio: the largest ratio of width to height, relative to that of the image; the logarithm of the ratio
            is drawn uniformly, from 1/ratio to ratio. No side is longer than that of the image.
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.

    Source: Szegedy et al., Going deeper with convolutions, 2015, section 6.
    """

    def draw(key: jax.Array, shape: Shape) -> jax.Array:
        keys = jax.random.split(key, 3)
        area, root = draw_between(keys[0], scale, 1.0), jnp.sqrt(draw_factor(keys[1], ratio))
        wide, high = jnp.minimum(jnp.sqrt(area) * root, 1), jnp.minimum(jnp.sqrt(area) / root, 1)
        right, down = jax.random.uniform(keys[2], (2,), jnp.float32, -0.5, 0.5)
        height, width = shape
        return affine_matrix(wide, 0, right * (1 - wide) * width, 0, high, down * (1 - high) * height)

    return Warp(draw, probability, Sampling(interpolation, border, fill))
