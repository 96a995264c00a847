"""The training examples of the epochs of a run, as arrays on the devices of a layout."""

import gc
import tempfile
from collections.abc import Generator, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import jax
import numpy as np

from research.data import Images, StoredImages
from research.data.stored import read_ahead
from research.parallel.layout import DATA_AXIS, Layout
from research.training.program import Examples, Feed


def make_feed(layout: Layout, images: Images, labels: np.ndarray, window: int | None = None) -> Feed:
    """Return a function that yields the arrays that the program reads in some epochs.

    While the program runs the steps of a window, Grain reads the images of the next window and puts them onto
    the devices. The orders and the step alone decide which images these are. One pipeline reads the images of
    all epochs, so its worker processes start once.

    Args:
        layout: the devices.
        images: all training images `[N, H, W, C]`.
        labels: the labels `[N]`.
        window: number of steps whose examples are on the devices at a time. Each device holds only the
            examples that it needs, and each process reads only those of its devices. `None` keeps all
            examples on every device.

    Returns:
        The function `feed(orders, first)` of the order `[num_steps, B]` of each epoch, and the first step of
        the first epoch to run. It yields `((images, labels, order), start, stop)`, where the steps from
        `start` to `stop - 1` are to be run. With a window, images and labels are batches `[window, B, ...]`,
        and `order` is `None`. An epoch begins with a new window.
    """
    if window is None:
        data = jax.device_put((np.asarray(images), labels), layout.everywhere)
        by_column = layout.sharding(None, DATA_AXIS)

        def epochs(orders: Iterable[jax.Array], first: int) -> Generator[tuple[Examples, int, int]]:
            for order in orders:
                yield (*data, jax.device_put(order, by_column)), first, len(order)
                first = 0

        return epochs

    def windows(orders: Iterable[jax.Array], first: int) -> Generator[tuple[Examples, int, int]]:
        import grain  # It takes a second, and the examples of most runs are on the devices.

        skipped = first - first % window
        # arrays need no threads: the one that fills the next window copies their rows
        workers, threads = (images.num_workers, None) if isinstance(images, StoredImages) else (0, 0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows")  # a file, which the worker processes read too
            batch_size, shape = _write_rows(path, layout, orders, window)
            rows = np.memmap(path, np.int32, "r", shape=shape)[skipped:]
            read = partial(_batch, images, path, shape, skipped)
            filled = read_ahead(read, len(rows), workers, threads).batch(window, batch_fn=np.stack)
            placed = filled.map(partial(layout.put_columns, batch_size=batch_size))
            ahead = grain.experimental.ThreadPrefetchIterDataset(placed, prefetch_buffer_size=1)
            with closing(iter(ahead)) as parts:
                for part, offset in zip(parts, range(0, len(rows), window), strict=True):
                    chosen = rows[offset : offset + window]
                    of_window = layout.put_columns(labels[chosen], batch_size)
                    stop = int((chosen[:, 0] != PADDING).sum())
                    yield (part, of_window, None), max(0, first - skipped - offset), stop
            if workers:
                # The exception with which Grain ends refers to itself, and keeps the last images of each
                # worker process in shared memory. Python would report this memory as leaked.
                gc.collect()

    return windows


PADDING = -1
"""The value in the rows of a window that belong to no step."""


def _write_rows(
    path: Path, layout: Layout, orders: Iterable[jax.Array], window: int
) -> tuple[int, tuple[int, int]]:
    """Write the indices of the examples of this process into a file. Return `B` and the shape of the indices.

    The steps of each epoch are filled up to a multiple of the window.
    """
    num_rows, batch_size, columns = 0, 0, slice(0)
    with path.open("wb") as file:
        for order in orders:
            batch_size = order.shape[1]
            columns = layout.local_columns(batch_size)
            padding = [(0, -len(order) % window), (0, 0)]
            rows = np.pad(np.asarray(order)[:, columns], padding, constant_values=PADDING)
            file.write(rows.tobytes())
            num_rows += len(rows)
    return batch_size, (num_rows, len(range(batch_size)[columns]))


def _batch(images: Images, path: Path, shape: tuple[int, int], skipped: int, step: int) -> np.ndarray:
    row = np.memmap(path, np.int32, "r", shape=shape)[skipped + step]
    return np.zeros((len(row), *images.shape[1:]), np.uint8) if row[0] == PADDING else images[row]
