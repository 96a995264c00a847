"""Augmentations that erase, blur, bend or disturb an image, against NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from research.data.augmentation.local import blur, cutout, elastic, erase, fill_rectangle, noise, smooth

pytestmark = pytest.mark.usefixtures("strict_types")

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 400)
IMAGE = np.random.default_rng(0).uniform(1, 255, (10, 12, 3)).astype(np.float32)


def erased(augmentation):
    """For each of 400 keys, which pixels of the image have the grey level 0."""
    results = np.asarray(jax.jit(jax.vmap(augmentation, (0, None)))(KEYS, jnp.asarray(IMAGE)))
    changed = (results == 0).all(-1)
    np.testing.assert_array_equal(results[~changed], np.broadcast_to(IMAGE, results.shape)[~changed])
    return changed


def test_a_rectangle_is_that_of_numpy():
    expected = IMAGE.copy()
    expected[3:10, 0:2] = 7
    result = fill_rectangle(jnp.asarray(IMAGE), jnp.int32(3), jnp.int32(-1), 20, 3, 7.0)
    np.testing.assert_array_equal(result, expected)


def test_cutout_fills_a_square_around_any_pixel():
    changed = erased(cutout(size=3))
    areas = changed.sum((1, 2))
    assert set(areas) == {4, 6, 9}  # at a corner, at an edge, inside
    rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
    np.testing.assert_array_equal(areas, rows * columns)
    assert changed.any(0).all()


def test_a_square_larger_than_the_image_covers_it():
    assert erased(cutout(size=100)).all()


def test_erase_fills_a_rectangle_of_at_most_the_area():
    changed = erased(erase(area=0.4, probability=1.0))
    areas, rows, columns = changed.sum((1, 2)), changed.any(2).sum(1), changed.any(1).sum(1)
    np.testing.assert_array_equal(areas, rows * columns)
    assert 0.38 < areas.max() / 120 < 0.47  # sides are whole numbers
    large = areas > 12
    assert 1 / 4 <= (columns / np.maximum(rows, 1))[large].min() < 0.5
    assert 2 < (columns / np.maximum(rows, 1))[large].max() < 4.5
    assert changed.any(0).all()
    assert not erased(erase(area=0.0, probability=1.0)).any()


def test_erase_leaves_images_as_they_are_with_its_probability():
    share = erased(erase(probability=0.25)).any((1, 2)).mean()
    assert 0.15 < share < 0.3


@pytest.mark.parametrize("sigma", [0.1, 0.8, 3.0])
def test_blur_is_the_gaussian_of_scipy(sigma):
    def filtered(channel):
        return ndimage.gaussian_filter(channel.astype(float), sigma, mode="constant", radius=12)

    # what lies outside of the image has no weight
    expected = [filtered(channel) / filtered(np.ones((10, 12))) for channel in np.moveaxis(IMAGE, -1, 0)]
    np.testing.assert_allclose(smooth(jnp.asarray(IMAGE), sigma), np.stack(expected, -1), atol=1e-3)


def test_blur_draws_sigma_up_to_its_end():
    results = np.asarray(
        jax.jit(jax.vmap(blur(sigma=2.0, probability=1.0), (0, None)))(KEYS, jnp.asarray(IMAGE))
    )
    spread = results.std(axis=(1, 2)).mean(-1)
    ends = [np.asarray(smooth(jnp.asarray(IMAGE), sigma)).std(axis=(0, 1)).mean() for sigma in (2.0, 0.1)]
    np.testing.assert_allclose([spread.min(), spread.max()], ends, rtol=0.02)


def test_noise_has_its_standard_deviation():
    grey = jnp.full((200, 200, 1), 128.0)
    result = np.asarray(noise(std=12.0)(KEY, grey)) - 128
    assert result.mean() == pytest.approx(0, abs=0.3)
    assert result.std() == pytest.approx(12, rel=0.02)
    np.testing.assert_array_equal(noise(std=0.0)(KEY, grey), grey)


def test_elastic_moves_pixels_by_its_distance():
    ramp = jnp.asarray(np.broadcast_to(np.arange(200, dtype=np.float32)[None, :, None], (200, 200, 1)))
    moved = np.asarray(jax.jit(elastic(distance=2.0, sigma=4.0))(KEY, ramp) - ramp)[20:-20, 20:-20]
    assert moved.std() == pytest.approx(2, rel=0.15)
    np.testing.assert_array_equal(elastic(distance=0.0)(KEY, jnp.asarray(IMAGE)), IMAGE)


def test_elastic_moves_neighbours_alike():
    ramp = jnp.asarray(np.broadcast_to(np.arange(60, dtype=np.float32)[None, :, None], (60, 60, 1)))
    moved = np.asarray(jax.jit(elastic(distance=2.0, sigma=4.0))(KEY, ramp) - ramp)[12:-12, 12:-12, 0]
    steps = np.diff(moved, axis=0).std() / moved.std()
    assert steps == pytest.approx(1 / (4 * 2**0.5), rel=0.3)  # of white noise after a Gaussian of sigma 4
