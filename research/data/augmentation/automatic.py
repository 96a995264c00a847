"""Augmentations that draw what they do from a list of operations: RandAugment and TrivialAugment.

The operations are those of RandAugment. At magnitude 30 they are: nothing; a rotation by 30 degrees; a shear
by 16.7 degrees along each axis; a shift by 0.45 of the size along each axis; brightness, contrast and
saturation by 0.9; solarize; posterize to 4 bits; autocontrast. Equalize and sharpness of the papers are left
out. Saturation is left out for images that have not three channels.
"""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from research.data.augmentation.base import Change, GreyLevel, Probability, draw_between
from research.data.augmentation.geometry import Border, Interpolation
from research.data.augmentation.photometric import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    invert_above,
    reduce_bits,
    stretch_contrast,
)
from research.data.augmentation.warp import (
    Sampling,
    affine_matrix,
    rotation_matrix,
    shift_matrix,
    warp,
)
from research.utils.constraints import Between

LARGEST_MAGNITUDE = 30.0
"""The magnitude at which the operations have their largest strength."""


def matrices(strength: jax.Array, height: int, width: int) -> list[jax.Array]:
    """Return the matrices `[3, 3]` of the geometric operations.

    Args:
        strength: the strength from -1 to 1; its sign is the direction.
        height: the number of rows of the image.
        width: the number of columns of the image.
    """
    tilt, part = 0.3 * strength, 0.45 * strength
    return [
        rotation_matrix(30 * strength),
        affine_matrix(1, tilt, 0, 0, 1, 0),
        affine_matrix(1, 0, 0, tilt, 1, 0),
        shift_matrix(part * width, 0),
        shift_matrix(0, part * height),
    ]


def recolored(image: jax.Array, strength: jax.Array) -> list[jax.Array]:
    """Return the image after each of the photometric operations.

    Args:
        image: the image `[H, W, C]`, float32 in grey levels.
        strength: the strength from -1 to 1; brightness, contrast and saturation have its sign.
    """
    factor, size = 1 + 0.9 * strength, jnp.abs(strength)
    images = [
        adjust_brightness(image, factor),
        adjust_contrast(image, factor),
        invert_above(image, 256 * (1 - size)),
        reduce_bits(image, 8 - jnp.rint(4 * size)),
        stretch_contrast(image),
    ]
    return [*images, adjust_saturation(image, factor)] if image.shape[-1] == 3 else images


def change_once(key: jax.Array, image: jax.Array, strength: jax.Array, sampling: Sampling) -> jax.Array:
    """Return the image after one operation, which is drawn uniformly from the list.

    Args:
        key: the typed key.
        image: the image `[H, W, C]`, float32 in grey levels.
        strength: the strength from 0 to 1; its sign is drawn too.
        sampling: how the image is read by geometric operations.
    """
    which, sign = jax.random.split(key)
    strength = jnp.where(jax.random.bernoulli(sign), strength, -strength)
    moves = [jnp.eye(3, dtype=jnp.float32), *matrices(strength, *image.shape[:2])]
    images = [image, *recolored(image, strength)]
    index = jax.random.randint(which, (), 0, len(moves) + len(images) - 1)
    matrix = jax.lax.select_n(jnp.where(index < len(moves), index, 0), *moves)
    image = jax.lax.select_n(jnp.clip(index - len(moves) + 1, 0), *images)
    return warp(jnp.clip(image, 0, 255), matrix, sampling)


def rand_augment(
    *,
    number: Annotated[int, Between(1, 8)] = 2,
    magnitude: Annotated[float, Between(0, LARGEST_MAGNITUDE)] = 9.0,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 128.0,
    probability: Probability = 1.0,
) -> Change:
    """Return RandAugment: a number of operations, each drawn from the list, all of one magnitude.

    Args:
        number: the number of operations.
        magnitude: the magnitude from 0 to 30.
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.

    Source: Cubuk et al. (2020), RandAugment: practical automated data augmentation with a reduced search
    space.
    """
    return _repeat(
        number,
        lambda key: jnp.float32(magnitude / LARGEST_MAGNITUDE),
        interpolation,
        border,
        fill,
        probability,
    )


def trivial_augment(
    *,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 128.0,
    probability: Probability = 1.0,
) -> Change:
    """Return TrivialAugment: one operation, drawn from the list, with a strength that is drawn uniformly.

    Args:
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.

    Source: Müller & Hutter (2021), TrivialAugment: tuning-free yet state-of-the-art data augmentation; its
    strengths are those of RandAugment ("RA"), not the wide ones.
    """
    return _repeat(1, lambda key: draw_between(key, 0.0, 1.0), interpolation, border, fill, probability)


def _repeat(
    number: int,
    draw_strength: Callable[[jax.Array], jax.Array],
    interpolation: str,
    border: str,
    fill: float,
    probability: float,
) -> Change:
    """Return the augmentation that applies a number of operations."""
    sampling = Sampling(interpolation, border, fill)

    def change(key: jax.Array, image: jax.Array) -> jax.Array:
        for index in range(number):
            strength, operation = jax.random.split(jax.random.fold_in(key, index))
            image = change_once(operation, image, draw_strength(strength), sampling)
        return image

    return Change(change, probability)
