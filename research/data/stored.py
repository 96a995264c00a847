"""Images that stay on disk and are decoded at each use, and their reading by Grain before they are needed."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from research.utils.cpus import num_cpus

T = TypeVar("T")


@runtime_checkable
class Reader(Protocol):
    """Reads the images of a source. Worker processes get a copy of it."""

    def __call__(self, position: int) -> np.ndarray:
        """Return the pixels `[H, W, C]` of the image at a position, uint8.

        Raises:
            DataError: the image is missing or damaged. The message names it.
        """
        ...

    def refuse(self, positions: list[int]) -> None:
        """Raise an error that names the images at some positions, because they cannot be used.

        Raises:
            DataError: always.
        """
        ...


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The images `[N, H, W, C]` of a split, which are read from disk and decoded at each use.

    They can be indexed like an array, by an index, a slice or an array of indices. The result is an array.

    Args:
        reader: the function that reads an image.
        positions: the positions `[N]` of the images in their source.
        image_shape: the shape `(H, W, C)` of an image.
        num_workers: the number of processes that read images before they are needed. If it is 0, threads of
            this process read them.
    """

    reader: Reader
    positions: np.ndarray
    image_shape: tuple[int, int, int]
    num_workers: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape `(N, H, W, C)`."""
        return len(self.positions), *self.image_shape

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> np.ndarray:
        warnings.filterwarnings("ignore", module="PIL")  # Pillow warns of odd metadata in sound images
        positions = self.positions[index]
        pixels = np.empty((*positions.shape, *self.image_shape), np.uint8)
        for place in np.ndindex(positions.shape):
            pixels[place] = self.reader(int(positions[place]))
        return pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    def select(self, indices: np.ndarray) -> "StoredImages":
        """Return the images at some indices, without reading them."""
        return replace(self, positions=self.positions[indices])


Images = np.ndarray | StoredImages
"""The images of a split, in memory or on disk."""


def batches_in_order(images: Images, batch_size: int) -> Iterator[np.ndarray]:
    """Yield all images in batches `[B, H, W, C]`. The last batch may be smaller.

    Args:
        images: the images.
        batch_size: the number of images in a batch.
    """
    starts = range(0, len(images), batch_size)
    if isinstance(images, np.ndarray):
        yield from (images[start : start + batch_size] for start in starts)
    else:
        read = partial(_slice, images, batch_size)
        with closing(iter(read_ahead(read, len(starts)))) as batches:
            yield from map(np.asarray, batches)


def _slice(images: StoredImages, batch_size: int, index: int) -> np.ndarray:
    return images[index * batch_size : (index + 1) * batch_size]


def read_ahead(
    read: Callable[[int], T], count: int, num_workers: int = 0, num_threads: int | None = None
) -> Any:
    """Return the Grain dataset of `read(0)`, ..., `read(count - 1)`, computed before they are needed.

    The iterator of the dataset must be closed.

    Args:
        read: the function. Worker processes get a copy of it.
        count: the number of results.
        num_workers: the number of processes that call `read`. If it is 0, threads of this process call it.
        num_threads: the number of these threads, which is the number of processors if not given. If it is 0,
            each result is computed when it is needed.
    """
    import grain  # It takes a second, and images in memory do not need it.
    from absl import flags

    threads = 0 if num_workers else num_cpus() if num_threads is None else num_threads
    results = grain.MapDataset.range(count).map(read)
    ahead = results.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))
    if not num_workers:
        return ahead
    if not flags.FLAGS.is_parsed():  # Grain reads its options from there
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    return ahead.mp_prefetch(options, worker_init_fn=_start_worker)


def _start_worker(index: int, count: int) -> None:
    """Ignore the interrupt of a terminal, which the parent process handles, and end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
