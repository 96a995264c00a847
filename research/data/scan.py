"""One pass over images on disk, which computes their checksum and the moments of their pixels."""

import hashlib
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from research.data.cache import array_header, kept_arrays
from research.data.dataset import DataError, Split
from research.data.stored import StoredImages, read_ahead
from research.utils.progress_bar import track

BATCH = 64
"""The number of images that are decoded at a time."""


class Scan(NamedTuple):
    """The results of a pass over the splits of a source.

    Args:
        checksum: the checksum that `cache.checksum` returns for the same images in memory.
        moments: the sum of the pixels, the sum of their squares, the smallest and the largest pixel, for each
            image of the training split and each channel, `[N, C, 4]`, int64.
    """

    checksum: str
    moments: np.ndarray


def scan(name: str, splits: dict[str, Split], key: str, cache: Path) -> Scan:
    """Decode all images of a source once, and return their checksum and the moments of the training images.

    Args:
        name: the name of the source, for the progress bar.
        splits: the splits of a source by name, with `train` among them, in the order of `Source.splits`.
            Their images are `StoredImages`.
        key: a text that changes when an image changes.
        cache: the folder of caches, in which the result is kept.

    Raises:
        DataError: images are missing or damaged.
    """
    digest = hashlib.sha256(key.encode())
    for images, labels in splits.values():
        assert isinstance(images, StoredImages)
        digest.update(images.positions.tobytes() + labels.tobytes() + str(images.shape).encode())
    path = cache / "scans" / f"{digest.hexdigest()[:32]}.npz"
    kept = kept_arrays(path, lambda: _scan(name, splits))
    return Scan(str(kept["checksum"]), kept["moments"])


def _scan(name: str, splits: dict[str, Split]) -> dict[str, np.ndarray]:
    digest, moments = hashlib.sha256(), []
    for split, (images, labels) in splits.items():
        assert isinstance(images, StoredImages)
        digest.update(array_header(np.dtype(np.uint8), images.shape))
        damaged: list[int] = []
        count = -(-len(images) // BATCH)
        with closing(iter(read_ahead(partial(_read, images), count, images.num_workers))) as batches:
            for pixels, found, wrong in track(batches, f"checking {name} {split}", "batches", count):
                digest.update(pixels)
                damaged += wrong
                if split == "train":
                    moments.append(np.array(found))
        if damaged:
            images.reader.refuse(damaged)
        digest.update(array_header(labels.dtype, labels.shape) + labels.tobytes())
    return {"checksum": np.array(digest.hexdigest()), "moments": np.concatenate(moments)}


def _read(images: StoredImages, index: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the pixels of a batch, their moments, and the positions of images that cannot be decoded."""
    chosen = np.arange(index * BATCH, min((index + 1) * BATCH, len(images)))
    pixels, damaged = np.zeros((len(chosen), *images.image_shape), np.uint8), []
    moments = np.zeros((len(chosen), images.image_shape[-1], 4), np.int64)
    for row, each in enumerate(chosen):
        try:
            pixels[row] = images[each]
        except DataError:
            damaged.append(int(images.positions[each]))
        flat = pixels[row].reshape(-1, images.image_shape[-1]).astype(np.int32)
        sums = (flat.sum(0, np.int64), (flat**2).sum(0, np.int64))
        moments[row] = np.stack([*sums, flat.min(0), flat.max(0)], axis=-1)
    return pixels, moments, damaged
