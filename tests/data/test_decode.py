import io

import numpy as np
import pytest
from PIL import Image

from research.data.decode import decode_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
GRAY = np.random.default_rng(1).integers(0, 256, (6, 10), np.uint8)


def encoded(image, name="PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, name, **options)
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "GIF"])
def test_an_image_of_the_right_size_keeps_its_pixels(name):
    decoded = decode_image(encoded(Image.fromarray(GRAY), name), (6, 10, 1))
    np.testing.assert_array_equal(decoded[..., 0], GRAY)


def test_crop_keeps_the_centre_stretch_takes_all_and_pad_adds_black():
    pixels = np.array(2 * [[10, 200, 200, 30]], np.uint8)  # two squares wide
    cropped = decode_image(encoded(Image.fromarray(pixels)), (2, 2, 1))
    np.testing.assert_array_equal(cropped[..., 0], [[200, 200], [200, 200]])
    stretched = decode_image(encoded(Image.fromarray(pixels)), (2, 2, 1), "stretch")
    assert stretched[0, 0, 0] < 200 > stretched[0, 1, 0]
    padded = decode_image(encoded(Image.fromarray(pixels)), (4, 4, 1), "pad")
    np.testing.assert_array_equal(padded[1:3, :, 0], pixels)
    assert padded[0].max() == padded[3].max() == 0


def test_exif_turns_an_image_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    decoded = decode_image(encoded(Image.fromarray(RGB), exif=exif), (10, 6, 3))
    np.testing.assert_array_equal(decoded, np.rot90(RGB, -1))


def test_transparent_parts_become_white():
    pixels = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    pixels[0, :, 3] = 0
    decoded = decode_image(encoded(Image.fromarray(pixels)), (6, 10, 3))
    assert decoded[0].min() == 255
    np.testing.assert_array_equal(decoded[1:], RGB[1:])


def test_16_bits_become_8():
    pixels = (GRAY.astype(np.uint16)) * 257
    decoded = decode_image(encoded(Image.fromarray(pixels)), (6, 10, 1))
    np.testing.assert_array_equal(decoded[..., 0], GRAY)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_modes_are_converted(mode, channels):
    name = "PNG" if mode in ("1", "L", "P", "LA") else "TIFF"
    image = Image.fromarray(np.full((8, 8, 3), 255, np.uint8))
    image = image.convert("L").convert(mode) if mode == "LA" else image.convert(mode)
    decoded = decode_image(encoded(image, name), (8, 8, channels))
    assert decoded.shape == (8, 8, channels)
    assert decoded.min() >= 254


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.BytesIO(b"no image"), "it is not in one of the formats JPEG"),
        (io.BytesIO(encoded(Image.fromarray(RGB)).getvalue()[:90]), "truncated"),
        (encoded(Image.fromarray(GRAY).convert("F"), "TIFF"), "floating-point numbers"),
        (encoded(Image.fromarray(RGB), "ICO"), "it is not in one of the formats JPEG"),
    ],
)
def test_what_is_no_image_is_refused(file, message):
    with pytest.raises(ValueError, match=message):
        decode_image(file, (4, 4, 3))
