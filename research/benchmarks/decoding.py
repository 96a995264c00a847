"""The time until a folder of JPEG files is decoded and in memory, at the first start and at later ones."""

import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from research.config import Config
from research.runs.build import build_data

NUM_PHOTOS, NUM_CLASSES = 50, 10


def write_photos(folder: Path, num_images: int) -> None:
    """Write JPEG files of 300 by 400 pixels and about 34 kB into ten folders of classes.

    Args:
        folder: the folder, which must exist.
        num_images: the number of files. No two have the same bytes, but every 50th has the same pixels.
    """
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(min(NUM_PHOTOS, num_images)):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((400, 300), Image.Resampling.BICUBIC), np.int16)
        noisy = smooth + rng.integers(-12, 13, smooth.shape, dtype=np.int16)
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
        contents.append(file.getvalue())
    for label in range(NUM_CLASSES):
        (folder / f"class {label}").mkdir()
    for index in range(num_images):
        content = contents[index % len(contents)]
        text = f"{index:08d}".encode()
        comment = (
            b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
        )  # after the first two bytes of a JPEG
        path = folder / f"class {index % NUM_CLASSES}" / f"{index}.jpg"
        path.write_bytes(content[:2] + comment + content[2:])


def time_decoding(num_images: int) -> dict[str, float]:
    """Return the seconds from a configuration to the images in memory, for a folder of JPEG files.

    The imports of Python and the start of JAX are not counted. The images are decoded to 64 by 64 pixels.

    Args:
        num_images: the number of files.

    Returns:
        `first`, when the files are read, decoded and cached, and `second`, when they are in the cache.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "photos")
        folder.mkdir()
        write_photos(folder, num_images)
        data = {
            "source": "folder",
            "path": str(folder),
            "image_size": [64, 64],
            "cache_dir": f"{temporary}/cache",
        }
        seconds = {}
        for start in ("first", "second"):
            began = time.perf_counter()
            config = Config.from_dict({"data": data})
            config.fingerprint()
            build_data(config.data)
            seconds[start] = time.perf_counter() - began
    return seconds
