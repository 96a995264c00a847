"""The form of an augmentation of one image, and the types of the keywords that augmentations share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from research.utils.constraints import Between

Probability = Annotated[float, Between(0, 1)]
GreyLevel = Annotated[float, Between(0, 255)]


@runtime_checkable
class Augmentation(Protocol):
    """A random change of one image; `vmap` applies it to a batch with a key for each image."""

    def __call__(self, key: jax.Array, image: jax.Array, /) -> jax.Array:
        """Return the changed image `[H, W, C]`, of the same dtype.

        Args:
            key: the typed key of this image.
            image: the image `[H, W, C]` in grey levels from 0 to 255, uint8 or float32.
        """
        ...


@dataclass(frozen=True)
class Change:
    """An augmentation that computes new grey levels.

    The change is computed in float32. Its result is clipped to [0, 255], and rounded if the image is uint8.

    Args:
        change: `change(key, image)` returns the changed float32 image `[H, W, C]`.
        probability: the probability with which an image is changed.
    """

    change: Augmentation
    probability: float = 1.0

    def __call__(self, key: jax.Array, image: jax.Array, /) -> jax.Array:
        """Return the changed image `[H, W, C]`, of the same dtype."""
        pixels = image.astype(jnp.float32)
        pixels = sometimes(self.probability, lambda key: self.change(key, pixels), key, pixels)
        return as_pixels(pixels, image.dtype)


def sometimes(
    probability: float, change: Callable[[jax.Array], jax.Array], key: jax.Array, unchanged: jax.Array
) -> jax.Array:
    """Return `change(key)` with a probability, and otherwise an unchanged array of the same shape.

    Args:
        probability: the probability of the change.
        change: a function of a key.
        key: the typed key.
        unchanged: what is returned otherwise.
    """
    if probability == 1:
        return change(key)
    is_changed = jax.random.bernoulli(key, probability)
    return jnp.where(is_changed, change(jax.random.fold_in(key, 0)), unchanged)


def as_pixels(pixels: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Return float32 grey levels clipped to [0, 255], and rounded if `dtype` is an integer type."""
    clipped = jnp.clip(pixels, 0, 255)
    return (jnp.rint(clipped) if jnp.issubdtype(dtype, jnp.integer) else clipped).astype(dtype)


def draw_between(key: jax.Array, low: float, high: float) -> jax.Array:
    """Return a float32 scalar, drawn uniformly from [low, high]."""
    return jax.random.uniform(key, (), jnp.float32, low, high)


def draw_factor(key: jax.Array, largest: float) -> jax.Array:
    """Return a float32 factor from [1 / largest, largest], whose logarithm is drawn uniformly."""
    return jnp.float32(largest) ** draw_between(key, -1.0, 1.0)
