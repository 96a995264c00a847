"""Augmentations that erase, blur, bend or disturb an image locally."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from research.data.augmentation.base import Change, GreyLevel, Probability, draw_between, draw_factor
from research.data.augmentation.geometry import Border, Factor, Interpolation
from research.data.augmentation.warp import Sampling, sample
from research.utils.constraints import AtLeastOne, Between

Sigma = Annotated[float, Between(0.1, 16)]


def fill_rectangle(
    image: jax.Array,
    top: jax.Array,
    left: jax.Array,
    height: jax.Array | int,
    width: jax.Array | int,
    fill: float,
) -> jax.Array:
    """Return the image with a rectangle of one grey level; its parts outside of the image are left out.

    Args:
        image: the image `[H, W, C]`.
        top: the first row of the rectangle, a whole number.
        left: the first column of the rectangle, a whole number.
        height: the number of rows.
        width: the number of columns.
        fill: the grey level.
    """
    rows, columns = jnp.arange(image.shape[0])[:, None, None], jnp.arange(image.shape[1])[None, :, None]
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    return jnp.where(inside, jnp.asarray(fill, image.dtype), image)


def smooth(image: jax.Array, sigma: jax.Array | float) -> jax.Array:
    r"""Return the image after a Gaussian filter along rows and columns.

    $$
    y_i = \sum_j w_{ij} x_j, \qquad w_{ij} \propto \exp(-(i - j)^2 / (2 \sigma^2)), \qquad \sum_j w_{ij} = 1
    $$

    The sum is over the pixels of the image, so what lies outside of it has no weight.

    Args:
        image: the image `[H, W, C]`, float32.
        sigma: the standard deviation $\sigma$ in pixels, above 0.
    """

    def weights(size: int) -> jax.Array:
        place = jnp.arange(size, dtype=jnp.float32)
        return jax.nn.softmax(-0.5 * ((place[:, None] - place[None]) / sigma) ** 2, axis=1)

    height, width, _ = image.shape
    precision = jax.lax.Precision.HIGHEST
    return jnp.einsum("ih,jw,hwc->ijc", weights(height), weights(width), image, precision=precision)


def cutout(
    *, size: Annotated[int, AtLeastOne] = 8, fill: GreyLevel = 0.0, probability: Probability = 1.0
) -> Change:
    """Return the augmentation that fills a square with one grey level.

    The centre is drawn uniformly among the pixels, so a part of the square may lie outside of the image.

    Args:
        size: the number of rows and of columns of the square.
        fill: the grey level.
        probability: the probability with which an image is changed.

    Source: DeVries & Taylor (2017), Improved regularization of convolutional neural networks with cutout.
    """

    def change(key: jax.Array, image: jax.Array) -> jax.Array:
        row, column = jax.random.randint(key, (2,), 0, jnp.array(image.shape[:2]))
        return fill_rectangle(image, row - size // 2, column - size // 2, size, size, fill)

    return Change(change, probability)


def erase(
    *,
    area: Annotated[float, Between(0, 1)] = 0.33,
    ratio: Factor = 3.3,
    fill: GreyLevel = 0.0,
    probability: Probability = 0.5,
) -> Change:
    """Return the augmentation that fills a rectangle with one grey level.

    Args:
        area: the largest part of the area of the image; the part is drawn uniformly from [0, area].
        ratio: the largest ratio of the sides; the logarithm of the ratio of width to height is drawn
            uniformly, from 1/ratio to ratio. No side is longer than that of the image.
        fill: the grey level.
        probability: the probability with which an image is changed.

    Source: Zhong et al. (2020), Random erasing data augmentation, section 3, where the smallest part is 0.02.
    """

    def change(key: jax.Array, image: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 4)
        pixels = draw_between(keys[0], 0.0, area) * (image.shape[0] * image.shape[1])
        root = jnp.sqrt(draw_factor(keys[1], ratio))
        height = jnp.clip(jnp.rint(jnp.sqrt(pixels) / root), 0, image.shape[0])
        width = jnp.clip(jnp.rint(jnp.sqrt(pixels) * root), 0, image.shape[1])
        top = jnp.floor(draw_between(keys[2], 0.0, 1.0) * (image.shape[0] - height + 1))
        left = jnp.floor(draw_between(keys[3], 0.0, 1.0) * (image.shape[1] - width + 1))
        top, left, height, width = (x.astype(jnp.int32) for x in (top, left, height, width))
        return fill_rectangle(image, top, left, height, width, fill)

    return Change(change, probability)


def noise(*, std: GreyLevel = 10.0, probability: Probability = 1.0) -> Change:
    """Return the augmentation that adds Gaussian noise to each channel of each pixel.

    Args:
        std: the standard deviation in grey levels.
        probability: the probability with which an image is changed.
    """
    return Change(
        lambda key, image: image + std * jax.random.normal(key, image.shape, jnp.float32), probability
    )


def blur(*, sigma: Sigma = 1.0, probability: Probability = 0.5) -> Change:
    """Return the augmentation that smooths an image by a Gaussian.

    Args:
        sigma: the largest standard deviation in pixels; it is drawn uniformly from [0.1, sigma].
        probability: the probability with which an image is changed.
    """
    return Change(lambda key, image: smooth(image, draw_between(key, 0.1, sigma)), probability)


def elastic(
    *,
    distance: Annotated[float, Between(0, 64)] = 1.0,
    sigma: Sigma = 3.0,
    interpolation: Interpolation = "bilinear",
    border: Border = "constant",
    fill: GreyLevel = 0.0,
    probability: Probability = 1.0,
) -> Change:
    r"""Return the augmentation that moves each pixel by a smooth random field.

    The field is white noise after convolution with a Gaussian of standard deviation $\sigma$, multiplied by
    $2 \sqrt{\pi} \sigma$ times the distance. So far from the border, the standard deviation of the movement
    in each direction is the distance.

    Args:
        distance: the standard deviation of the movement in pixels.
        sigma: the standard deviation $\sigma$ of the Gaussian in pixels.
        interpolation: how the image is read between pixels: `nearest` or `bilinear`.
        border: what lies outside of the image: `constant`, `edge`, `reflect` or `wrap`.
        fill: the grey level outside of the image, for `constant`.
        probability: the probability with which an image is changed.

    Source: Simard, Steinkraus & Platt (2003), Best practices for convolutional neural networks applied to
    visual document analysis, section 2.
    """

    def change(key: jax.Array, image: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        field = smooth(jax.random.normal(key, (height, width, 2), jnp.float32), sigma)
        field = field * (2 * math.sqrt(math.pi) * sigma * distance)
        rows = jnp.arange(height, dtype=jnp.float32)[:, None] + field[..., 0]
        columns = jnp.arange(width, dtype=jnp.float32)[None] + field[..., 1]
        return sample(image, rows, columns, Sampling(interpolation, border, fill))

    return Change(change, probability)
