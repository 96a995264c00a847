r"""Sampling of an image at the positions that a matrix gives, once for all changes that follow each other.

A matrix $M$ maps the position of a pixel in the new image to a position in the old image. Positions are
$(x, y, 1)$ in pixels from the centre of the image, with $x$ to the right and $y$ down:

$$
(u, v, w) = M (x, y, 1), \qquad \mathrm{new}(x, y) = \mathrm{old}(u / w, v / w)
$$

If $M_1$ comes first and $M_2$ second, both together are $M_1 M_2$. So the image is sampled once, and what a
first change moves out of the image, a second one can move back.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.data.augmentation.base import Augmentation, as_pixels, sometimes

Shape = tuple[int, int]
"""The height and the width of an image."""


class Sampling(NamedTuple):
    """How an image is read between its pixels and outside of them.

    Args:
        interpolation: `nearest` takes the nearest pixel, and `bilinear` weighs the four around a position.
        border: what lies outside of the image: `constant` is the grey level `fill`, `edge` the nearest pixel,
            `reflect` the mirrored image without its edge twice, and `wrap` the image again.
        fill: the grey level for `constant`.
    """

    interpolation: str = "bilinear"
    border: str = "constant"
    fill: float = 0.0


@dataclass(frozen=True)
class Warp:
    """An augmentation that draws a matrix and samples the image.

    Args:
        draw: `draw(key, shape)` returns a matrix `[3, 3]`, float32, for an image of a shape `(H, W)`.
        probability: the probability with which an image is changed.
        sampling: how the image is read; `None` if the matrix maps pixels onto pixels of the image.
        move: `move(key, image)` does what the matrix of the same key does, where that moves whole pixels;
            it is faster than sampling. `None` if there is no such function.
    """

    draw: Callable[[jax.Array, Shape], jax.Array]
    probability: float = 1.0
    sampling: Sampling | None = None
    move: Augmentation | None = None

    def matrix(self, key: jax.Array, shape: Shape) -> jax.Array:
        """Return the matrix `[3, 3]` that the augmentation applies for a key."""
        return sometimes(
            self.probability, lambda key: self.draw(key, shape), key, jnp.eye(3, dtype=jnp.float32)
        )

    def __call__(self, key: jax.Array, image: jax.Array, /) -> jax.Array:
        """Return the changed image `[H, W, C]`, of the same dtype."""
        if self.move is None:
            height, width, _ = image.shape
            return warp(image, self.matrix(key, (height, width)), self.sampling or Sampling())
        move = self.move
        return sometimes(self.probability, lambda key: move(key, image), key, image)


def group_warps(augmentations: Sequence[Any]) -> Iterator[list[tuple[int, Any]]]:
    """Yield groups of augmentations, each with its position, in their order.

    Augmentations that follow each other are one group if each is a `Warp` and all read the image in the same
    way, so that their matrices can be multiplied.

    Args:
        augmentations: the augmentations.

    Example:
        >>> any_sampling = Warp(lambda key, shape: jnp.eye(3))
        >>> warp = Warp(lambda key, shape: jnp.eye(3), 1.0, Sampling())
        >>> [[index for index, _ in group] for group in group_warps([warp, any_sampling, warp, max, warp])]
        [[0, 1, 2], [3], [4]]
    """
    group: list[tuple[int, Any]] = []
    for index, augmentation in enumerate(augmentations):
        fits = all(isinstance(each, Warp) for each in (augmentation, *(each for _, each in group)))
        samplings = {each.sampling for each in (augmentation, *(each for _, each in group)) if fits}
        if group and (not fits or len(samplings - {None}) > 1):
            yield group
            group = []
        group.append((index, augmentation))
    if group:
        yield group


def apply_group(group: Sequence[tuple[int, Any]], key: jax.Array, image: jax.Array) -> jax.Array:
    """Return an image after all augmentations of a group; each draws from `fold_in(key, its position)`.

    Args:
        group: augmentations with their positions, as `group_warps` yields them.
        key: the typed key of the image.
        image: the image `[H, W, C]`.
    """
    keys = {index: jax.random.fold_in(key, index) for index, _ in group}
    if len(group) == 1 or all(each.move for _, each in group):
        for index, each in group:
            image = each(keys[index], image)
        return image
    matrices = [each.matrix(keys[index], image.shape[:2]) for index, each in group]
    sampling = next((each.sampling for _, each in group if each.sampling), Sampling())
    return warp(image, functools.reduce(multiply, matrices), sampling)


def multiply(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the matrix of two changes `[3, 3]`, of which `first` comes first."""
    return jnp.matmul(first, second, precision=jax.lax.Precision.HIGHEST)


def warp(image: jax.Array, matrix: jax.Array, sampling: Sampling) -> jax.Array:
    """Return an image that is read at the positions which a matrix gives.

    Args:
        image: the image `[H, W, C]`.
        matrix: the matrix `[3, 3]` from positions in the new image to positions in the old one.
        sampling: how the image is read.

    Returns:
        The image `[H, W, C]`, of the same dtype.
    """
    height, width, _ = image.shape
    x = jnp.broadcast_to(jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2, (height, width))
    y = jnp.broadcast_to((jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2)[:, None], (height, width))
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return sample(image, v / w + (height - 1) / 2, u / w + (width - 1) / 2, sampling)


def sample(image: jax.Array, rows: jax.Array, columns: jax.Array, sampling: Sampling) -> jax.Array:
    """Return an image that is read at positions.

    Args:
        image: the image `[H, W, C]`.
        rows: the rows `[H, W]` of the positions, float32; row 0 is the middle of the uppermost pixels.
        columns: the columns `[H, W]` of the positions, float32.
        sampling: how the image is read.

    Returns:
        The image `[H, W, C]`, of the same dtype.

    Example:
        >>> image = jnp.array([0.0, 10.0, 20.0]).reshape(1, 3, 1)
        >>> columns = jnp.array([[0.5, 1.5, 2.5]])
        >>> sample(image, jnp.zeros((1, 3)), columns, Sampling(border="edge")).ravel().tolist()
        [5.0, 15.0, 20.0]
    """
    height, width, channels = image.shape
    flat = image.reshape(height * width, channels)

    def read(row: jax.Array, column: jax.Array) -> jax.Array:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = _into(row, height, sampling.border) * width + _into(column, width, sampling.border)
        pixels = flat[index].astype(jnp.float32)
        return (
            jnp.where(inside[..., None], pixels, sampling.fill) if sampling.border == "constant" else pixels
        )

    if sampling.interpolation == "nearest":
        pixels = read(jnp.floor(rows + 0.5).astype(jnp.int32), jnp.floor(columns + 0.5).astype(jnp.int32))
        return as_pixels(pixels, image.dtype)
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    row, column = top.astype(jnp.int32), left.astype(jnp.int32)
    upper = read(row, column) * (1 - right) + read(row, column + 1) * right
    lower = read(row + 1, column) * (1 - right) + read(row + 1, column + 1) * right
    return as_pixels(upper * (1 - down) + lower * down, image.dtype)


def _into(index: jax.Array, size: int, border: str) -> jax.Array:
    """Return the indices in [0, size) at which a border reads what lies outside."""
    if border == "wrap":
        return index % size
    if border == "reflect":
        index = jnp.abs(index) % max(2 * size - 2, 1)
        return jnp.where(index < size, index, 2 * size - 2 - index)
    return jnp.clip(index, 0, size - 1)


def affine_matrix(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> jax.Array:
    """Return the matrix `[3, 3]` with the rows `(a, b, c)`, `(d, e, f)` and `(0, 0, 1)`, float32."""
    values = [jnp.asarray(value, jnp.float32) for value in (a, b, c, d, e, f, 0, 0, 1)]
    return jnp.stack(values).reshape(3, 3)


def shift_matrix(right: Any, down: Any) -> jax.Array:
    """Return the matrix `[3, 3]` that moves an image by pixels to the right and down."""
    return affine_matrix(1, 0, -right, 0, 1, -down)


def rotation_matrix(degrees: Any) -> jax.Array:
    """Return the matrix `[3, 3]` that turns an image counter-clockwise about its centre."""
    cos, sin = jnp.cos(degrees * (math.pi / 180)), jnp.sin(degrees * (math.pi / 180))
    return affine_matrix(cos, -sin, 0, sin, cos, 0)


def zoom_matrix(factor: Any) -> jax.Array:
    """Return the matrix `[3, 3]` that enlarges an image by a factor about its centre."""
    return affine_matrix(1 / factor, 0, 0, 0, 1 / factor, 0)


def shear_matrix(degrees: Any) -> jax.Array:
    """Return the matrix `[3, 3]` that tilts the vertical lines of an image; its upper half moves right."""
    return affine_matrix(1, jnp.tan(degrees * (math.pi / 180)), 0, 0, 1, 0)


def corners_matrix(corners: jax.Array, shape: Shape) -> jax.Array:
    """Return the matrix `[3, 3]` that maps the corners of the new image to four points of the old image.

    Args:
        corners: the points `(x, y)` `[4, 2]` for the upper left, upper right, lower right and lower left
            corner, in pixels from the centre. The outermost pixels have their middle half a pixel inside of
            the corners.
        shape: the shape `(H, W)` of the image.

    Source: Heckbert (1989), Fundamentals of texture mapping and image warping, section 2.2.3.
    """
    height, width = shape
    p0, p1, p2, p3 = corners
    (sx, sy), (ax, ay), (bx, by) = p0 - p1 + p2 - p3, p1 - p2, p3 - p2
    area = ax * by - bx * ay
    g, h = (sx * by - bx * sy) / area, (ax * sy - sx * ay) / area
    one = jnp.ones_like(g)[None]
    columns = [jnp.append(p1 - p0 + g * p1, g), jnp.append(p3 - p0 + h * p3, h), jnp.append(p0, one)]
    return multiply(jnp.stack(columns, axis=1), affine_matrix(1 / width, 0, 0.5, 0, 1 / height, 0.5))
