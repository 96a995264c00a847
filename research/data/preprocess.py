"""The preprocessing that is compiled into the training step: augmentation and scaling."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.data.augmentation import AUGMENTATIONS, NEED_COLOR
from research.data.augmentation.alternating import AlternatingFlip
from research.data.augmentation.mixing import Mixing
from research.data.augmentation.warp import apply_group, group_warps
from research.utils.lookup import lookup
from research.utils.strict import Named


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
        augmentations: augmentations by name, with or without keyword arguments. They are applied in this
            order, before scaling, to pixels in float32.
        dtype: the dtype of the result, in which the network computes. The scaling itself is in float32.

    Raises:
        ValueError: an augmentation is unknown or does not fit the number of channels, `mean` and `std` differ
            in length, or a number in `std` is not above 0.

    Example:
        >>> preprocess = Preprocess(mean=(0.5,), std=(0.25,), augmentations=("flip",))
        >>> preprocess(jnp.full((1, 2, 2, 1), 255, jnp.uint8)).ravel().tolist()
        [2.0, 2.0, 2.0, 2.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentations: tuple[str | Named, ...] = ()
    dtype: str = "float32"

    def __post_init__(self) -> None:
        self._build()
        for name in (each.name for each in self._named()):
            if name in NEED_COLOR and len(self.mean) != 3:
                raise ValueError(
                    f"augmentations={name} is not allowed for images with {len(self.mean)} channel"
                    f"{'s' * (len(self.mean) > 1)}, since it changes colours; leave it out"
                )
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
        if keys is not None and self.augmentations:
            images = jax.vmap(self.augment)(keys, images.astype(jnp.float32))
        mean = np.array(self.mean, np.float32).reshape(1, 1, 1, -1)
        std = np.array(self.std, np.float32).reshape(1, 1, 1, -1)
        return ((images.astype(jnp.float32) / 255 - mean) / std).astype(self.dtype)

    def augment(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """Return an image after all augmentations of single images.

        Args:
            key: the typed key of the image.
            image: the image `[H, W, C]` in grey levels from 0 to 255, float32.
        """
        for group in group_warps(self._build()):
            if isinstance(group[0][1], AlternatingFlip | Mixing):
                continue
            image = apply_group(group, key, image)
        return image

    @property
    def alternating_flip(self) -> AlternatingFlip | None:
        """The flip that depends on the epoch; the training step applies it to the stored images."""
        return next((each for each in self._build() if isinstance(each, AlternatingFlip)), None)

    @property
    def mixing(self) -> Mixing | None:
        """The mixing of the examples of a batch, which the training step applies after this."""
        return Mixing.one_of([each for each in self._build() if isinstance(each, Mixing)])

    def _named(self) -> list[Named]:
        """Return the names and keyword arguments of the augmentations."""
        return [Named(each) if isinstance(each, str) else each for each in self.augmentations]

    def _build(self) -> list[Any]:
        """Return the augmentations."""
        return [lookup(AUGMENTATIONS, each.name, "augmentation")(**each.arguments) for each in self._named()]
