"""Images that occur twice: equal pixels, and pixels that are nearly equal by a perceptual hash."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

HASH_SIDE = 8
"""The side of the grid whose gradients are the hash, which has 64 bits."""

MAX_DISTANCE = 4
"""The largest number of bits in which the hashes of two nearly equal images differ."""

MIN_CORRELATION = 0.97
"""The smallest correlation of the thumbnails of two nearly equal images."""

THUMBNAIL_SIDE = 16

ROWS_AT_ONCE = 512


class Duplicates(NamedTuple):
    """Groups of equal images and pairs of nearly equal ones, as indices of images.

    Args:
        equal: groups of at least two images with equal pixels, in order.
        near: pairs `(i, j)`, `i < j`, of images that are nearly equal. Of equal images only the first is
            compared with others.
    """

    equal: list[list[int]]
    near: list[tuple[int, int]]


def find_duplicates(batches: Iterable[np.ndarray]) -> Duplicates:
    """Return the images that occur twice.

    Two images are nearly equal if their difference hashes differ in at most 4 of 64 bits, and their grey
    thumbnails of 16 by 16 pixels have a correlation of at least 0.97. Neither changes much if an image is
    compressed again, brightened or slightly resized. All pairs are compared, which takes about 10 s for
    50,000 images. Each image takes about 1 kB of memory.

    Args:
        batches: the images in batches `[B, H, W, C]`, uint8. One batch is in memory at a time.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> image, other = rng.integers(0, 250, (2, 16, 16, 3), dtype=np.uint8)
        >>> find_duplicates([np.stack([image, other]), np.stack([image, other + 5])])
        Duplicates(equal=[[0, 2]], near=[(1, 3)])

    Source: Krawetz, Kind of Like That, 2013, for the difference hash.
    """
    by_pixels: dict[bytes, list[int]] = defaultdict(list)
    found, count = [], 0
    for batch in batches:
        new = []
        for row, image in enumerate(batch):
            group = by_pixels[hashlib.sha256(image.tobytes()).digest()]
            group.append(count + row)
            new += [row] if len(group) == 1 else []
        count += len(batch)
        found.append((_difference_hashes(batch[new]), _thumbnails(batch[new])))
    first = np.array([group[0] for group in by_pixels.values()], np.int64)
    equal = [group for group in by_pixels.values() if len(group) > 1]
    hashes, thumbnails = (np.concatenate(each) for each in zip(*found, strict=True))
    near = []
    for start in range(0, len(first), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        # of two hashes with bits -1 and 1, the product is the number of equal minus that of different bits
        agreement = hashes[rows] @ hashes[start:].T
        for i, j in np.argwhere(agreement >= HASH_SIDE**2 - 2 * MAX_DISTANCE) + start:
            if i < j and thumbnails[i] @ thumbnails[j] >= MIN_CORRELATION:
                near.append((int(first[i]), int(first[j])))
    return Duplicates(equal, near)


def _difference_hashes(images: np.ndarray) -> np.ndarray:
    """Return 1 where a cell of a grid is darker than the next one, and else -1, float32 `[N, 64]`."""
    cells = _shrink(images, HASH_SIDE, HASH_SIDE + 1)
    return np.where(cells[:, :, :-1] < cells[:, :, 1:], 1, -1).reshape(-1, HASH_SIDE**2).astype(np.float32)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Return grey thumbnails as vectors of mean 0 and length 1, float32 `[N, 256]`."""
    cells = _shrink(images, THUMBNAIL_SIDE, THUMBNAIL_SIDE).reshape(-1, THUMBNAIL_SIDE**2)
    cells -= cells.mean(axis=1, keepdims=True)
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)


def _shrink(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the mean grey level in each cell of a grid, float32 `[N, height, width]`."""
    rows, columns = (
        _cell_weights(old, new) for old, new in zip(images.shape[1:3], (height, width), strict=True)
    )
    return rows @ images.mean(axis=-1, dtype=np.float32) @ columns.T


def _cell_weights(old: int, new: int) -> np.ndarray:
    """Return the share of each of `old` pixels in the mean of each of `new` cells, float32 `[new, old]`."""
    cells, pixels = np.arange(new + 1) * old / new, np.arange(old + 1)
    overlap = np.minimum(cells[1:, None], pixels[1:]) - np.maximum(cells[:-1, None], pixels[:-1])
    return (np.maximum(overlap, 0) * new / old).astype(np.float32)
