"""RandAugment and TrivialAugment draw among their operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data.augmentation.automatic import (
    change_once,
    matrices,
    rand_augment,
    recolored,
    trivial_augment,
)
from research.data.augmentation.warp import Sampling, warp

pytestmark = pytest.mark.usefixtures("strict_types")

KEYS = jax.random.split(jax.random.key(0), 300)
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (9, 8, 3)), jnp.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_operation_is_drawn_of_the_list(channels):
    image, strength = IMAGE[..., :channels], jnp.float32(0.5)

    def all_operations(signed):
        move = jax.vmap(lambda matrix: warp(image, matrix, Sampling()))
        colors = jnp.clip(jnp.stack(recolored(image, signed)), 0, 255)
        return jnp.concatenate([move(jnp.stack(matrices(signed, 9, 8))), colors])

    @jax.jit
    def computed(keys, signs):
        drawn = jax.vmap(lambda key: change_once(key, image, strength, Sampling()))(keys)
        return drawn, jax.vmap(all_operations)(signs * strength)

    results, operations = map(np.asarray, computed(KEYS, jnp.float32([1, -1])))
    expected = [np.asarray(image), *operations.reshape(-1, *image.shape)]
    distances = np.abs(results[:, None] - np.stack(expected)[None]).max(axis=(2, 3, 4))
    assert np.all(distances.min(axis=1) < 1e-2)
    assert set(distances.argmin(axis=1)) >= set(range(1 + len(matrices(strength, 9, 8))))
    assert len(set(distances.argmin(axis=1))) >= len(expected) - 4  # some do not depend on the sign
    assert operations.shape[1] == (10 if channels == 1 else 11)  # saturation


def test_magnitude_0_changes_at_most_the_contrast():
    results = np.asarray(jax.jit(jax.vmap(rand_augment(number=1, magnitude=0.0), (0, None)))(KEYS, IMAGE))
    same = np.abs(results - np.asarray(IMAGE)).max(axis=(1, 2, 3)) < 1
    stretched = np.abs(results - np.asarray(recolored(IMAGE, jnp.float32(0))[4])).max(axis=(1, 2, 3)) < 1
    assert np.all(same | stretched)


def test_more_operations_and_a_larger_magnitude_change_more():
    def distance(**arguments):
        results = jax.jit(jax.vmap(rand_augment(**arguments), (0, None)))(KEYS, IMAGE)
        return np.abs(np.asarray(results) - np.asarray(IMAGE)).mean()

    little = distance(number=1, magnitude=3.0)
    assert little < distance(number=1, magnitude=20.0)
    assert little < distance(number=2, magnitude=3.0)


def test_trivial_augment_draws_the_strength():
    results = np.asarray(jax.jit(jax.vmap(trivial_augment(), (0, None)))(KEYS, IMAGE))
    assert len(np.unique(np.round(np.abs(results - np.asarray(IMAGE)).mean(axis=(1, 2, 3)), 2))) > 150
