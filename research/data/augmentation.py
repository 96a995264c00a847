"""Random changes of training images, and the preprocessing that is compiled into the training step."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from research.utils.lookup import lookup

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of typed keys `[N]` and images `[N, H, W, C]` that returns changed images of the same shape."""

CROP_PADDING = 4
"""The largest number of pixels by which `crop` shifts an image."""


def flip(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror each image left to right with probability 1/2.

    Args:
        keys: the typed keys `[N]`, one per example.
        images: the images `[N, H, W, C]`, of any dtype.

    Returns:
        The images `[N, H, W, C]`, with the same dtype.

    Example:
        >>> images = jnp.arange(3).reshape(1, 1, 3, 1)
        >>> flip(jax.random.split(jax.random.key(1), 1), images).ravel().tolist() in ([0, 1, 2], [2, 1, 0])
        True
    """
    flips = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flips[:, None, None, None], images[:, :, ::-1], images)


def crop(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Shift each image at random by up to 4 pixels, horizontally and vertically.

    Each image is padded with 4 zeros on each side, and an image of the old size is cut out at random.

    Args:
        keys: the typed keys `[N]`, one per example.
        images: the images `[N, H, W, C]`, of any dtype.

    Returns:
        The images `[N, H, W, C]`, with the same dtype.

    Example:
        >>> crop(jax.random.split(jax.random.key(0), 2), jnp.ones((2, 8, 8, 1))).shape
        (2, 8, 8, 1)

    Source: He et al., Deep Residual Learning for Image Recognition, 2016, section 4.2.
    """
    pad = CROP_PADDING
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def crop_one(key: jax.Array, image: jax.Array) -> jax.Array:
        top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
        return jax.lax.dynamic_slice(image, (top, left, jnp.zeros_like(top)), images.shape[1:])

    return jax.vmap(crop_one)(keys, padded)


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "crop": crop}
"""The augmentations by the name that a configuration gives."""


@dataclass(frozen=True)
class Preprocess:
    r"""Turn stored pixels into the input of a network.

    $$
    y = (x / 255 - \mu) / \sigma
    $$

    A `Preprocess` is a value: it can be compared and hashed, so that compiled functions can depend on it.

    Args:
        mean: the mean $\mu$ of each channel, for pixels scaled to [0, 1].
        std: the standard deviation $\sigma$ of each channel, above 0.
        augmentations: names in `AUGMENTATIONS`. They are applied in this order, before scaling.
        dtype: the dtype of the result, in which the network computes. The scaling itself is in float32.

    Raises:
        ValueError: an augmentation is unknown, `mean` and `std` differ in length, or a number in `std` is not
            above 0.

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
        """Scale and standardise images, and augment them before if keys are given.

        Args:
            images: the images `[N, H, W, C]`, uint8.
            keys: the typed keys `[N]`, one per example. Augmentation `i` draws from `fold_in(key, i)`.

        Returns:
            The input of the network `[N, H, W, C]`, with the dtype `dtype`.

        Raises:
            ValueError: the number of channels of the images is not that of `mean`.
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
