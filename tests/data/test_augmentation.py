import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config
from research.data import AUGMENTATIONS, RECIPES, Preprocess
from research.data.augmentation import OF_IMAGES, crop, flip
from research.data.augmentation.base import Change
from research.data.augmentation.warp import Warp
from research.utils.strict import Named

pytestmark = pytest.mark.usefixtures("strict_types")


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def images_of(count, shape=(8, 6, 3), dtype: type = np.uint8):
    return np.random.default_rng(0).integers(1, 256, (count, *shape)).astype(dtype)


EACH = [(name, np.float32) for name in OF_IMAGES]
EACH += [(name, np.uint8) for name in ("rotate", "contrast")]


@pytest.mark.parametrize(("name", "dtype"), [pytest.param(*e, id=f"{e[0]}-{e[1].__name__}") for e in EACH])
def test_each_image_depends_on_its_own_key_alone(name, dtype):
    images, keys = images_of(16, dtype=dtype), keys_of(16)
    augment = jax.jit(jax.vmap(AUGMENTATIONS[name]()))
    result = augment(keys, jnp.asarray(images))
    assert result.shape == images.shape
    assert result.dtype == dtype
    others = images.copy()
    others[:5] = 0
    half = augment(keys.at[:5].set(keys[0]), jnp.asarray(others))
    assert np.array_equal(result[5:], half[5:])
    assert not np.array_equal(result, images)
    assert result.min() >= 0
    assert result.max() <= 255


@pytest.mark.parametrize("name", ["shear", "crop", "contrast"])  # of a matrix, of pixels, of grey levels
def test_no_image_changes_with_probability_0(name):
    images = jnp.asarray(images_of(4, dtype=np.float32))
    never, always = (jax.jit(jax.vmap(AUGMENTATIONS[name](probability=p))) for p in (0.0, 1.0))
    np.testing.assert_array_equal(never(keys_of(4), images), images)
    assert not np.array_equal(always(keys_of(4), images), images)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_every_augmentation_has_the_probability_that_it_is_given(name):
    augmentation = AUGMENTATIONS[name](probability=0.25)
    assert isinstance(augmentation, Warp | Change)
    assert augmentation.probability == 0.25


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_keyword_is_checked(name):
    config = Config.from_dict({"data": {"name": "cifar10", "augmentations": [name]}})
    (augmentation,) = config.data.augmentations
    for key in augmentation.arguments:
        with pytest.raises(ValueError, match=f"{key}=no such value is not allowed; give"):
            Config.from_dict({"data": {"augmentations": [{"name": name, key: "no such value"}]}})


def test_flip_mirrors_half_of_the_images():
    images = images_of(400)
    result = np.asarray(jax.vmap(flip())(keys_of(400), jnp.asarray(images)))
    mirrored = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (result == images).all(axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    assert 150 < mirrored.sum() < 250


def test_crop_cuts_a_window_out_of_the_padded_image_and_reaches_every_window():
    images = images_of(2000, (5, 6, 1))
    result = np.asarray(jax.vmap(crop())(keys_of(2000), jnp.asarray(images)))
    pad = 4
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
    expected = jax.vmap(crop())(own[1], jax.vmap(flip())(own[0], images))
    assert np.array_equal(both(images, keys=keys), plain(expected))
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
        (((0.5,), (0.5,), ("turn",)), "unknown augmentation 'turn'; allowed: affine, "),
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


def test_keywords_reach_the_augmentation():
    images = jnp.asarray(images_of(4))
    mirror = Preprocess((0.0,) * 3, (1.0,) * 3, (Named("flip", (("probability", 1.0),)),))
    np.testing.assert_allclose(mirror(images, keys=keys_of(4)) * 255, images[:, :, ::-1], rtol=1e-6)


def test_names_and_mappings_are_the_same_configuration():
    names = Config.from_dict({"data": {"augmentations": ["flip", "crop"]}})
    crop = {"name": "crop", "padding": 4}
    assert Config.from_dict({"data": {"augmentations": ["flip", crop]}}) == names
    assert Config.from_dict(names.to_dict()) == names
    assert hash(Config.from_dict(names.to_dict())) == hash(names)
    values = names.to_dict()  # version 0.1 wrote the names alone into config.yaml
    values["data"]["augmentations"] = ["flip", "crop"]
    assert Config.from_dict(values).fingerprint() == names.fingerprint()
    other = Config.from_dict({"data": {"augmentations": ["flip", crop | {"padding": 2}]}})
    assert other.fingerprint() != names.fingerprint()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_list_of_augmentations(name):
    config = Config.from_dict({"data": "cifar10", "augmentation": name})
    asked = {"name": "cifar10", "augmentations": list(RECIPES[name])}
    assert config == Config.from_dict({"data": asked})
    assert len(config.data.augmentations) == len(RECIPES[name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augmentation": "weak"}, "augmentation=weak is not allowed; give one of mnist, none"),
        ({"augmentation": ["none"]}, r"augmentation=\['none'\] is not allowed; give one of mnist, none"),
        (
            {"augmentation": "standard", "data": {"augmentations": ["flip"]}},
            "augmentation=standard is not allowed beside data.augmentations",
        ),
        ({"data": {"augmentations": [3]}}, "data.augmentations=3 is not allowed; give one of affine, "),
        (
            {"data": {"augmentations": [{"name": "crop", "pading": 4}]}},
            "there is no key data.augmentations.pading; allowed: padding, border, fill, probability",
        ),
        (
            {"data": {"augmentations": [{"name": "rotate", "degrees": 181}]}},
            "data.augmentations.degrees=181 is not allowed; give a number, from 0 to 180",
        ),
    ],
)
def test_impossible_augmentations_are_refused_in_one_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        Config.from_dict(values)
