"""The mirroring of an image in every second epoch."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class AlternatingFlip:
    """An augmentation that mirrors an image left to right in every second epoch.

    Half of the images are mirrored in the first epoch, and the others in the second: those whose sum of all
    stored pixels is odd begin. So an image is the same in no two epochs that follow each other.
    """

    def __call__(self, images: jax.Array, epoch: jax.Array | int, /) -> jax.Array:
        """Return the images `[N, H, W, C]` of an epoch.

        Args:
            images: the stored images `[N, H, W, C]`, uint8.
            epoch: the number of the epoch, from 0.
        """
        sums = images.astype(jnp.int32).sum(axis=(1, 2, 3))
        is_mirrored = (sums + epoch) % 2 == 1
        return jnp.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)


def alternating_flip() -> AlternatingFlip:
    """Return the augmentation that mirrors an image left to right in every second epoch.

    It is applied to the stored images, before all other augmentations, wherever it stands in the list.

    Source: Jordan (2024), 94% on CIFAR-10 in 3.29 seconds on a single GPU, section 3.6, where a hash of the
    number of the image decides which images begin.
    """
    return AlternatingFlip()
