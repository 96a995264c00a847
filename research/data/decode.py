"""Decoding of one image file into the pixels that a network takes.

This module imports only NumPy and Pillow, since `research.deploy` copies its text into programs that run
without this package.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""The formats that are read, by their names in Pillow."""

RESIZINGS = ("crop", "stretch", "pad")
"""The ways in which an image is brought to the size of the network."""


def decode_image(
    file: str | Path | io.BytesIO | io.BufferedReader,
    image_shape: tuple[int, int, int],
    resizing: str = "crop",
) -> np.ndarray:
    """Return the pixels of an image file, resized to the shape of a network's images.

    The image is turned upright as its EXIF orientation says. A GIF gives its first frame. Transparent parts
    become white, 16-bit pixels become 8-bit pixels, and colours become gray (or gray becomes colours) if the
    network takes another number of channels.

    Args:
        file: the path of the file, or an open binary file.
        image_shape: the shape `(H, W, C)` of the result, where `C` is 1 for gray and 3 for colour images.
        resizing: `crop` scales the image until it covers `H` and `W` and keeps the centre, `stretch` ignores
            the ratio of the sides, and `pad` scales the image until it fits and fills the rest with black.

    Returns:
        The pixels `[H, W, C]`, uint8.

    Raises:
        ValueError: the file is no image in one of `FORMATS`, or it is damaged. The message is one clause
            without the path.
        OSError: the file cannot be opened.
    """
    side = 2 * max(image_shape[:2])
    with open(file, "rb") if isinstance(file, str | Path) else file as opened:
        try:
            with Image.open(opened, formats=FORMATS) as image:
                image.draft(None, (side, side))  # Pillow decodes a large JPEG at 1/2, 1/4 or 1/8 of its size
                return resize_image(ImageOps.exif_transpose(image), image_shape, resizing)
        except Exception as error:  # Pillow raises many types
            reason = " ".join(str(error).split()) or type(error).__name__
            if "cannot identify" in reason:
                reason = f"it is not in one of the formats {', '.join(FORMATS)}"
            raise ValueError(f"it cannot be decoded: {reason}") from error


def resize_image(image: Image.Image, image_shape: tuple[int, int, int], resizing: str = "crop") -> np.ndarray:
    """Return the pixels of an image as `decode_image` does.

    Args:
        image: the image, of any size and mode.
        image_shape: the shape `(H, W, C)` of the result.
        resizing: one of `RESIZINGS`.

    Returns:
        The pixels `[H, W, C]`, uint8.

    Raises:
        ValueError: the pixels of the image are floating-point numbers.
    """
    height, width, channels = image_shape
    size = (width, height)
    image = _with_mode(image, "L" if channels == 1 else "RGB")
    if resizing == "stretch":
        image = image.resize(size, Image.Resampling.BILINEAR)
    elif resizing == "pad":
        image = ImageOps.pad(image, size, Image.Resampling.BILINEAR)
    else:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(image_shape)


def _with_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an image with 8 bits per channel in the mode `L` or `RGB`. Transparent parts become white."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    if image.mode.startswith("I"):  # 16 bits
        pixels = np.asarray(image) / 257
        image = Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert("RGB").convert(mode)
