"""The time that each augmentation takes for an image."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from research.benchmarks.timing import alternate, quartiles
from research.data import Preprocess
from research.data.augmentation import NEED_COLOR, OF_IMAGES

COMPOSED = ("flip", "rotate", "zoom", "shear")
"""Augmentations that follow each other and so are sampled once."""


def time_augmentations(image_shape: tuple[int, int, int], batch_size: int, rounds: int) -> dict[str, float]:
    """Return the microseconds for an image of each augmentation of single images, with its default keywords.

    Each is compiled alone, for a batch of float32 images. `COMPOSED` is timed too, as one.

    Args:
        image_shape: `(H, W, C)`.
        batch_size: the number of images in a call.
        rounds: the number of timings of each, in turn; their median counts.
    """
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (batch_size, *image_shape)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), batch_size)
    channels = image_shape[-1]
    names = [(name,) for name in OF_IMAGES if channels == 3 or name not in NEED_COLOR]
    works = {}
    for group in (*names, COMPOSED):
        preprocess = Preprocess((0.0,) * channels, (1.0,) * channels, group)
        works[" ".join(group)] = partial(jax.jit(jax.vmap(preprocess.augment)), keys, images)
    seconds = alternate(works, rounds)
    return {name: 1e6 * quartiles(times).median / batch_size for name, times in seconds.items()}
