"""Photometric augmentations, which change grey levels and colours and leave every pixel at its place.

The functions `adjust_*` and the like are not random. They take and return float32 images `[H, W, C]` in grey
levels, and `Change` clips their results to [0, 255].
"""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from research.data.augmentation.base import Augmentation, Change, GreyLevel, Probability, draw_between
from research.utils.constraints import Between

Amount = Annotated[float, Between(0, 1)]
Bits = Annotated[int, Between(1, 8)]


def luminance(image: jax.Array) -> jax.Array:
    r"""Return the grey image `[H, W, 1]` of an image.

    $$
    L = 0.299 R + 0.587 G + 0.114 B
    $$

    Args:
        image: the image `[H, W, C]`. If it has not three channels, the result is the mean of its channels.

    Source: ITU-R Recommendation BT.601.
    """
    if image.shape[-1] != 3:
        return image.mean(axis=-1, keepdims=True)
    red, green, blue = jnp.split(image, 3, axis=-1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def adjust_brightness(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Return `factor * image`."""
    return factor * image


def adjust_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Return the image whose distances from the mean luminance are multiplied by a factor."""
    mean = luminance(image).mean()
    return mean + factor * (image - mean)


def adjust_saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Return the image whose distances from the luminance of each pixel are multiplied by a factor."""
    grey = luminance(image)
    return grey + factor * (image - grey)


def adjust_hue(image: jax.Array, turn: jax.Array) -> jax.Array:
    """Return the image whose hues are turned by a part of the colour circle.

    Args:
        image: the image `[H, W, 3]`.
        turn: the part, where 1 is the whole circle, from red to green to blue to red.

    Source: Smith (1978), Color gamut transform pairs (the hexagonal cone HSV).
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value, chroma = image.max(axis=-1), image.max(axis=-1) - image.min(axis=-1)
    divisor = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sixths = sixths + 6 * turn

    def channel(start: int) -> jax.Array:
        place = start + sixths
        place = place - 6 * jnp.floor(place / 6)  # the remainder; `%` is three times as slow on a CPU
        return value - chroma * jnp.clip(jnp.minimum(place, 4 - place), 0, 1)

    return jnp.stack([channel(5), channel(3), channel(1)], axis=-1)


def invert_above(image: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """Return the image in which each grey level from a threshold on is replaced by 255 minus itself."""
    return jnp.where(image < threshold, image, 255 - image)


def reduce_bits(image: jax.Array, bits: jax.Array | int) -> jax.Array:
    """Return the image in which only the highest bits of each grey level remain."""
    step = 2.0 ** (8 - jnp.asarray(bits, jnp.float32))
    return jnp.floor(image / step) * step


def stretch_contrast(image: jax.Array) -> jax.Array:
    """Return the image in which each channel is stretched linearly to [0, 255]; a constant channel stays."""
    low, high = image.min(axis=(0, 1), keepdims=True), image.max(axis=(0, 1), keepdims=True)
    stretched = (image - low) * (255 / jnp.where(high > low, high - low, 1))
    return jnp.where(high > low, stretched, image)


def _by_factor(adjust: Callable[[jax.Array, jax.Array], jax.Array], amount: float) -> Augmentation:
    """Return the change by `adjust` with a factor that is drawn uniformly from [1 - amount, 1 + amount]."""
    return lambda key, image: adjust(image, draw_between(key, 1 - amount, 1 + amount))


def brightness(*, amount: Amount = 0.3, probability: Probability = 1.0) -> Change:
    """Return the augmentation that multiplies an image by a factor.

    Args:
        amount: the largest change; the factor is drawn uniformly from [1 - amount, 1 + amount].
        probability: the probability with which an image is changed.
    """
    return Change(_by_factor(adjust_brightness, amount), probability)


def contrast(*, amount: Amount = 0.3, probability: Probability = 1.0) -> Change:
    """Return the augmentation that multiplies the distances from the mean luminance by a factor.

    Args:
        amount: the largest change; the factor is drawn uniformly from [1 - amount, 1 + amount].
        probability: the probability with which an image is changed.
    """
    return Change(_by_factor(adjust_contrast, amount), probability)


def saturation(*, amount: Amount = 0.3, probability: Probability = 1.0) -> Change:
    """Return the augmentation that multiplies the distances from the luminance of each pixel by a factor.

    Args:
        amount: the largest change; the factor is drawn uniformly from [1 - amount, 1 + amount].
        probability: the probability with which an image is changed.
    """
    return Change(_by_factor(adjust_saturation, amount), probability)


def hue(*, turn: Annotated[float, Between(0, 0.5)] = 0.05, probability: Probability = 1.0) -> Change:
    """Return the augmentation that turns the hues of an image.

    Args:
        turn: the largest part of the colour circle; the part is drawn uniformly from [-turn, turn].
        probability: the probability with which an image is changed.
    """
    return Change(lambda key, image: adjust_hue(image, draw_between(key, -turn, turn)), probability)


def color_jitter(
    *,
    brightness: Amount = 0.3,
    contrast: Amount = 0.3,
    saturation: Amount = 0.3,
    hue: Annotated[float, Between(0, 0.5)] = 0.05,
    probability: Probability = 1.0,
) -> Change:
    """Return the augmentation that changes brightness, contrast, saturation and hue, in this order.

    Args:
        brightness: the largest change of the factor, as for the augmentation `brightness`.
        contrast: the largest change of the factor, as for the augmentation `contrast`.
        saturation: the largest change of the factor, as for the augmentation `saturation`.
        hue: the largest turn, as for the augmentation `hue`.
        probability: the probability with which an image is changed.
    """
    by_factors = (
        _by_factor(adjust_brightness, brightness),
        _by_factor(adjust_contrast, contrast),
        _by_factor(adjust_saturation, saturation),
    )

    def change(key: jax.Array, image: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 4)
        for index, adjust in enumerate(by_factors):
            image = jnp.clip(adjust(keys[index], image), 0, 255)
        return adjust_hue(image, draw_between(keys[3], -hue, hue))

    return Change(change, probability)


def grayscale(*, probability: Probability = 0.1) -> Change:
    """Return the augmentation that replaces the three channels of an image by its luminance.

    Args:
        probability: the probability with which an image is changed.
    """
    return Change(lambda key, image: jnp.broadcast_to(luminance(image), image.shape), probability)


def solarize(*, threshold: GreyLevel = 128.0, probability: Probability = 0.5) -> Change:
    """Return the augmentation that inverts the bright grey levels of an image.

    Args:
        threshold: the smallest grey level that is inverted.
        probability: the probability with which an image is changed.
    """
    return Change(lambda key, image: invert_above(image, threshold), probability)


def posterize(*, bits: Bits = 4, probability: Probability = 0.5) -> Change:
    """Return the augmentation that keeps only the highest bits of each grey level.

    Args:
        bits: the number of bits that remain.
        probability: the probability with which an image is changed.
    """
    return Change(lambda key, image: reduce_bits(image, bits), probability)


def autocontrast(*, probability: Probability = 0.5) -> Change:
    """Return the augmentation that stretches each channel of an image to the grey levels from 0 to 255.

    Args:
        probability: the probability with which an image is changed.
    """
    return Change(lambda key, image: stretch_contrast(image), probability)
