"""Images that arrive one by one, predicted in batches."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from research.deploy.formats import Logits

Waiting = tuple[np.ndarray, asyncio.Future[np.ndarray]]
"""The pixels of an image, and the future that receives its logits."""


class Batcher:
    """A queue of images whose logits are computed in batches, in the order in which the images arrived.

    `run` computes a batch as soon as the batch is full or its first image has waited for `max_wait`.
    Images that arrive during a batch wait for the next one.

    Args:
        logits: a function from at most `max_batch` images (uint8) to logits `[N, K]`.
        max_batch: the largest number of images in a batch.
        max_wait: the longest time in seconds that an image waits for others before its batch begins.
        on_batch: called with the number of images of each batch.
    """

    def __init__(
        self, logits: Logits, max_batch: int, max_wait: float, on_batch: Callable[[int], object]
    ) -> None:
        self._logits, self._max_batch, self._max_wait, self._on_batch = logits, max_batch, max_wait, on_batch
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the logits `[K]` of an image `[H, W, C]` when its batch has been computed."""
        future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((pixels, future))
        return await future

    async def run(self) -> None:
        """Compute batches until the task is cancelled."""
        with ThreadPoolExecutor(1) as pool:  # the event loop goes on receiving while a batch is computed
            while True:
                batch = await self._next_batch()
                self._on_batch(len(batch))
                pixels = np.stack([image for image, _ in batch])
                try:
                    rows = await asyncio.get_running_loop().run_in_executor(pool, self._logits, pixels)
                except Exception as error:  # the requests of this batch fail, and the next batch is tried
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for (_, future), row in zip(batch, rows, strict=True):
                    if not future.done():  # a future is done already if its request was cancelled
                        future.set_result(row)

    async def _next_batch(self) -> list[Waiting]:
        batch = [await self._queue.get()]
        try:
            async with asyncio.timeout(self._max_wait):
                while len(batch) < self._max_batch:
                    batch.append(await self._queue.get())
        except TimeoutError:
            pass
        return batch
