"""The weights of mixup and CutMix, and the flip of every second epoch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.data import Preprocess
from research.data.augmentation import alternating_flip, cutmix, mixup
from research.data.augmentation.mixing import Mixing

pytestmark = pytest.mark.usefixtures("strict_types")

KEYS = jax.random.split(jax.random.key(0), 400)


def weights(mixing, height=9, width=12):
    drawn = jax.jit(jax.vmap(lambda key: mixing(key, height, width)))(KEYS)
    assert drawn.shape == (400, height, width, 1)
    return np.asarray(drawn)[..., 0]


def test_mixup_draws_one_weight_of_a_beta_distribution_for_all_pixels():
    alpha = 0.2
    drawn = weights(mixup(alpha=alpha))
    np.testing.assert_array_equal(drawn, drawn[:, :1, :1] + np.zeros_like(drawn))
    assert stats.kstest(drawn[:, 0, 0], stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_cutmix_takes_a_rectangle_of_the_shape_of_the_image():
    from_partner = weights(cutmix(), 30, 40) == 0
    rows, columns = from_partner.any(2).sum(1), from_partner.any(1).sum(1)
    np.testing.assert_array_equal(from_partner.sum((1, 2)), rows * columns)
    inside = ~(from_partner[:, [0, -1]].any((1, 2)) | from_partner[:, :, [0, -1]].any((1, 2)))
    assert inside.sum() > 50
    np.testing.assert_allclose(columns[inside] / 40, rows[inside] / 30, atol=0.1)
    assert from_partner.any(0).all()


def test_a_batch_that_is_not_mixed_has_weights_of_1():
    assert np.all(weights(mixup(probability=0.0)) == 1)
    unmixed = (weights(cutmix(probability=0.25)) == 1).all((1, 2)).mean()
    assert 0.65 < unmixed < 0.85


def test_of_two_mixings_one_is_drawn_for_each_batch():
    both = Preprocess((0.5,), (0.5,), ("flip", "mixup", "cutmix")).mixing
    assert both is not None
    drawn = weights(both)
    is_cut = np.isin(drawn, [0, 1]).all((1, 2))
    assert 0.4 < is_cut.mean() < 0.6
    assert Mixing.one_of([]) is None
    assert Preprocess((0.5,), (0.5,), ("flip",)).mixing is None


def test_every_second_epoch_is_mirrored():
    images = np.random.default_rng(0).integers(0, 256, (200, 5, 6, 1)).astype(np.uint8)
    epochs = [np.asarray(alternating_flip()(jnp.asarray(images), epoch)) for epoch in range(4)]
    for now, after in itertools.pairwise(epochs):
        np.testing.assert_array_equal(after, now[:, :, ::-1])
    first = (epochs[0] != images).any((1, 2, 3))
    np.testing.assert_array_equal(first, images.sum((1, 2, 3), dtype=int) % 2 == 1)
    assert 0.4 < first.mean() < 0.6
