"""The photometric augmentations: to 1e-5 against NumPy, and to one grey level against Pillow."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from research.data import Preprocess
from research.data.augmentation.photometric import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    autocontrast,
    brightness,
    color_jitter,
    contrast,
    grayscale,
    hue,
    invert_above,
    luminance,
    posterize,
    reduce_bits,
    saturation,
    solarize,
    stretch_contrast,
)

pytestmark = pytest.mark.usefixtures("strict_types")

IMAGE = np.random.default_rng(0).integers(20, 200, (7, 9, 3)).astype(np.uint8)
PIXELS = jnp.asarray(IMAGE, jnp.float32)
WIDE = IMAGE.astype(float)
GREY = (WIDE @ [0.299, 0.587, 0.114])[..., None]
KEY = jax.random.key(0)
FACTORS = (0.0, 0.4, 1.0, 1.9)


def near_pillow(result, image):
    """Pillow rounds means and luminances too, so a grey level may differ by one."""
    np.testing.assert_allclose(np.rint(np.clip(result, 0, 255)), np.asarray(image, float), atol=1.0)


def near_numpy(result, expected):
    np.testing.assert_allclose(np.asarray(result) / 255, expected / 255, atol=1e-5)


@pytest.mark.parametrize("factor", FACTORS)
def test_brightness(factor):
    result = adjust_brightness(PIXELS, jnp.float32(factor))
    near_numpy(result, factor * WIDE)
    near_pillow(result, ImageEnhance.Brightness(Image.fromarray(IMAGE)).enhance(factor))


@pytest.mark.parametrize("factor", FACTORS)
def test_contrast(factor):
    result = adjust_contrast(PIXELS, jnp.float32(factor))
    near_numpy(result, GREY.mean() + factor * (WIDE - GREY.mean()))
    near_pillow(result, ImageEnhance.Contrast(Image.fromarray(IMAGE)).enhance(factor))


@pytest.mark.parametrize("factor", FACTORS)
def test_saturation(factor):
    result = adjust_saturation(PIXELS, jnp.float32(factor))
    near_numpy(result, GREY + factor * (WIDE - GREY))
    near_pillow(result, ImageEnhance.Color(Image.fromarray(IMAGE)).enhance(factor))


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.3, 0.5])
def test_hue_equals_that_of_colorsys(turn):
    def turned(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)

    grey_and_black = np.array([[[50, 50, 50], [0, 0, 0], [255, 0, 0]]])
    for image in (WIDE, grey_and_black.astype(float)):
        expected = 255 * np.apply_along_axis(turned, -1, image / 255)
        near_numpy(adjust_hue(jnp.asarray(image, jnp.float32), jnp.float32(turn)), expected)


def test_grayscale():
    near_numpy(luminance(PIXELS), GREY)
    near_pillow(luminance(PIXELS)[..., 0], Image.fromarray(IMAGE).convert("L"))
    result = grayscale(probability=1.0)(KEY, jnp.asarray(IMAGE))
    np.testing.assert_array_equal(result, np.rint(GREY).astype(np.uint8).repeat(3, -1))


@pytest.mark.parametrize("threshold", [0, 100, 255])
def test_solarize(threshold):
    result = invert_above(PIXELS, float(threshold))
    near_numpy(result, np.where(threshold <= WIDE, 255 - WIDE, WIDE))
    near_pillow(result, ImageOps.solarize(Image.fromarray(IMAGE), threshold))


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_posterize(bits):
    result = reduce_bits(PIXELS, bits)
    near_numpy(result, IMAGE & (256 - 2 ** (8 - bits)))
    near_pillow(result, ImageOps.posterize(Image.fromarray(IMAGE), bits))


def test_autocontrast():
    low, high = WIDE.min((0, 1)), WIDE.max((0, 1))
    result = stretch_contrast(PIXELS)
    near_numpy(result, 255 * (WIDE - low) / (high - low))
    near_pillow(result, ImageOps.autocontrast(Image.fromarray(IMAGE)))
    constant = jnp.full((3, 3, 1), 70.0)
    np.testing.assert_array_equal(stretch_contrast(constant), constant)


@pytest.mark.parametrize(
    ("make", "adjust"),
    [(brightness, adjust_brightness), (contrast, adjust_contrast), (saturation, adjust_saturation)],
)
def test_factors_are_drawn_up_to_their_ends_and_the_result_is_clipped(make, adjust):
    keys = jax.random.split(KEY, 200)
    results = np.asarray(jax.vmap(make(amount=1.0), (0, None))(keys, PIXELS))
    assert 0 <= results.min() < 2
    assert results.max() == 255
    for end in (0.0, 2.0):
        expected = np.clip(adjust(PIXELS, jnp.float32(end)), 0, 255)
        assert np.abs(results - expected).max(axis=(1, 2, 3)).min() < 5


def test_amounts_of_0_change_nothing():
    still = [brightness(amount=0.0), contrast(amount=0.0), saturation(amount=0.0), hue(turn=0.0)]
    still += [color_jitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0), posterize(bits=8)]
    for augmentation in still:
        np.testing.assert_allclose(augmentation(KEY, PIXELS), PIXELS, atol=1e-3)
        np.testing.assert_array_equal(augmentation(KEY, jnp.asarray(IMAGE)), IMAGE)


def test_color_jitter_is_its_parts_in_order():
    keys = jax.random.split(KEY, 4)
    parts = [brightness(amount=0.5), contrast(amount=0.4), saturation(amount=0.3), hue(turn=0.2)]
    expected = PIXELS
    for key, part in zip(keys, parts, strict=True):
        expected = part(key, expected)
    result = color_jitter(brightness=0.5, contrast=0.4, saturation=0.3, hue=0.2)(KEY, PIXELS)
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_images_of_one_channel_have_contrast_but_no_colour():
    grey = PIXELS[..., :1]
    for augmentation in (brightness(), contrast(), solarize(), posterize(), autocontrast()):
        assert augmentation(KEY, grey).shape == grey.shape
    np.testing.assert_array_equal(luminance(grey), grey)


@pytest.mark.parametrize("name", ["saturation", "hue", "color_jitter", "grayscale"])
def test_colours_of_images_of_one_channel_are_refused(name):
    message = f"augmentations={name} is not allowed for images with 1 channel, since it changes colours"
    with pytest.raises(ValueError, match=message):
        Preprocess((0.5,), (0.5,), (name,))
