"""Random changes of training images, and the preprocessing that is compiled into the step."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from research.utils.lookup import lookup

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]

CROP_PADDING = 4


def flip(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror each image left to right with probability 1/2.

    Args:
        keys: ``[N]`` typed keys, one per example.
        images: ``[N, H, W, C]``, any dtype.

    Returns:
        ``[N, H, W, C]``, same dtype.

    Example:
        >>> images = jnp.arange(3).reshape(1, 1, 3, 1)
        >>> flip(jax.random.split(jax.random.key(1), 1), images).ravel().tolist() in ([0, 1, 2], [2, 1, 0])
        True
    """
    flips = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flips[:, None, None, None], images[:, :, ::-1], images)


def crop(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Shift each image by up to 4 pixels each way: pad with zeros, then cut the old size out at random.

    Args:
        keys: ``[N]`` typed keys, one per example.
        images: ``[N, H, W, C]``, any dtype.

    Returns:
        ``[N, H, W, C]``, same dtype.

    Example:
        >>> crop(jax.random.split(jax.random.key(0), 2), jnp.ones((2, 8, 8, 1))).shape
        (2, 8, 8, 1)

    Source: He et al. (2016), "Deep residual learning for image recognition", section 4.2.
    """
    pad = CROP_PADDING
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def crop_one(key: jax.Array, image: jax.Array) -> jax.Array:
        top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
        return jax.lax.dynamic_slice(image, (top, left, jnp.zeros_like(top)), images.shape[1:])

    return jax.vmap(crop_one)(keys, padded)


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "crop": crop}


@dataclass(frozen=True)
class Preprocess:
    """From stored pixels to what the network reads; a value that can be compared, hashed and compiled.

    .. math:: y = (x / 255 - \\mu) / \\sigma

    Args:
        mean: per channel, of pixels in [0, 1].
        std: per channel, above 0.
        augmentations: names in ``AUGMENTATIONS``, applied in this order before scaling.
        dtype: of what it returns, in which the network computes; the scaling itself is in float32.

    Raises:
        ValueError: an unknown augmentation, unequal lengths, or a deviation that is not above 0.

    Example:
        >>> preprocess = Preprocess(mean=(0.5,), std=(0.25,), augmentations=("flip",))
        >>> preprocess(jnp.full((1, 2, 2, 1), 255, jnp.uint8)).ravel().tolist()
        [2.0, 2.0, 2.0, 2.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentations: tuple[str, ...] = ()
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in self.augmentations:
            lookup(AUGMENTATIONS, name, "augmentation")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, std has {len(self.std)}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; every channel's must be above 0")

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Scale and standardise; with keys, augment first.

        Args:
            images: ``[N, H, W, C]`` uint8.
            keys: ``[N]`` typed keys, one per example; augmentation i draws from ``fold_in(key, i)``.

        Returns:
            ``[N, H, W, C]`` of ``dtype``.

        Raises:
            ValueError: the images have another number of channels.
        """
        if images.shape[-1] != len(self.mean):
            raise ValueError(f"images have {images.shape[-1]} channels, mean has {len(self.mean)}")
        if keys is not None:
            for index, name in enumerate(self.augmentations):
                own_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)
                images = AUGMENTATIONS[name](own_keys, images)
        mean = np.array(self.mean, np.float32).reshape(1, 1, 1, -1)
        std = np.array(self.std, np.float32).reshape(1, 1, 1, -1)
        return ((images.astype(jnp.float32) / 255 - mean) / std).astype(self.dtype)
