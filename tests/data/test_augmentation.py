import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import AUGMENTATIONS, Preprocess
from research.data.augmentation import CROP_PADDING, crop, flip

pytestmark = pytest.mark.usefixtures("strict_types")


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def images_of(count, shape=(8, 6, 3), dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 256, (count, *shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_image_depends_on_its_own_key_alone(name, dtype):
    images, keys = images_of(16, dtype=dtype), keys_of(16)
    result = AUGMENTATIONS[name](keys, jnp.asarray(images))
    assert result.shape == images.shape
    assert result.dtype == dtype
    half = jax.jit(AUGMENTATIONS[name])(keys[5:9], jnp.asarray(images[5:9]))
    assert np.array_equal(result[5:9], half)
    assert not np.array_equal(result, images)


def test_flip_mirrors_half_of_the_images():
    images = images_of(400)
    result = np.asarray(flip(keys_of(400), jnp.asarray(images)))
    mirrored = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (result == images).all(axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    assert 150 < mirrored.sum() < 250


def test_crop_cuts_a_window_out_of_the_padded_image_and_reaches_every_window():
    images = images_of(2000, (5, 6, 1))
    result = np.asarray(crop(keys_of(2000), jnp.asarray(images)))
    pad = CROP_PADDING
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 6), axis=(1, 2))[:, :, :, 0]
    found = (windows == result[:, None, None, :, :, 0]).all(axis=(-1, -2))
    assert found.shape[1:] == (2 * pad + 1, 2 * pad + 1)
    assert found.any(axis=(1, 2)).all()
    assert found.any(axis=0).all()


def test_preprocess_is_the_formula():
    images = images_of(4)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = (images / 255 - np.array(mean)) / np.array(std)
    result = Preprocess(mean, std)(jnp.asarray(images))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_preprocess_augments_in_order_each_with_keys_of_its_own_and_only_if_it_has_keys():
    images, keys = jnp.asarray(images_of(8)), keys_of(8)
    plain = Preprocess((0.5,) * 3, (0.5,) * 3)
    both = Preprocess((0.5,) * 3, (0.5,) * 3, ("flip", "crop"))
    own = [jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index) for index in (0, 1)]
    assert np.array_equal(both(images, keys=keys), plain(crop(own[1], flip(own[0], images))))
    assert np.array_equal(both(images), plain(images))


def test_preprocess_is_a_static_argument():
    traced = []

    def call(preprocess, images):
        traced.append(preprocess)
        return preprocess(images)

    apply = jax.jit(call, static_argnums=0)
    images = jnp.asarray(images_of(2))
    first = apply(Preprocess((0.5,) * 3, (0.5,) * 3, ("flip",)), images)
    assert np.array_equal(first, apply(Preprocess((0.5,) * 3, (0.5,) * 3, ("flip",)), images))
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0.5,), (0.5,), ("rotate",)), "unknown augmentation 'rotate'; allowed: crop, flip"),
        (((0.5,), (0.5, 0.5)), "mean has 1 channels, std has 2"),
        (((0.5,), (0.0,)), "above 0"),
        (((0.5,), (float("nan"),)), "above 0"),
    ],
)
def test_impossible_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocess(*arguments)


def test_another_number_of_channels():
    with pytest.raises(ValueError, match="images have 3 channels, mean has 1"):
        Preprocess((0.5,), (0.5,))(jnp.asarray(images_of(1)))
