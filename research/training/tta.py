"""Test-time augmentation: the mean of the logits of several views of each image."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

Views = Callable[[jax.Array], Iterator[tuple[float, jax.Array]]]
"""A function of images `[N, H, W, C]` that yields weights, which sum to 1, and views `[N, H, W, C]`."""


def flip(images: jax.Array) -> Iterator[tuple[float, jax.Array]]:
    """Yield the images and their mirror images, each with half of the weight."""
    yield 0.5, images
    yield 0.5, images[:, :, ::-1]


def flip_shift(images: jax.Array) -> Iterator[tuple[float, jax.Array]]:
    """Yield six views: the images as they are, moved by a pixel down right and up left, and each mirrored.

    The images that are not moved have half of the weight. A movement uncovers pixels of the reflected image.

    Source: Jordan (2024), 94% on CIFAR-10 in 3.29 seconds on a single GPU, section 3.5.
    """
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    moved = (padded[:, start : start + height, start : start + width] for start in (0, 2))
    for weight, view in ((0.5, images), *((0.25, each) for each in moved)):
        for half, mirrored in flip(view):
            yield weight * half, mirrored


TTA: dict[str, Views | None] = {"none": None, "flip": flip, "flip_shift": flip_shift}
"""The views by the name that `training.tta` gives; `None` takes the images as they are."""


def average_views(predict: Callable[[jax.Array], jax.Array], images: jax.Array, name: str) -> jax.Array:
    """Return the weighted mean of the logits of all views of the images.

    Args:
        predict: a function from images `[N, H, W, C]` to logits `[N, K]`.
        images: the images.
        name: a name in `TTA`.

    Example:
        >>> average_views(lambda images: images[:, 0, :1, 0], jnp.arange(4.0).reshape(1, 1, 4, 1), "flip")
        Array([[1.5]], dtype=float32)
    """
    views = TTA[name]
    if views is None:
        return predict(images)
    logits = [weight * predict(view) for weight, view in views(images)]
    return jnp.stack(logits).sum(axis=0)
