"""The speed and memory of training on images that stay on disk."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.benchmarks.decoding import write_photos
from research.config import Config, DataConfig
from research.runs.build import build_data
from research.runs.program import compile_program
from research.runs.spec import program_spec
from research.training.program import Examples
from research.utils.memory import resident_memory

NUM_PHOTOS = 2000
"""The number of JPEG files. The benchmark reads each of them many times."""

NUM_READINGS = 20
"""The number of readings of the memory."""


def time_stored(
    config: Config, num_steps: int, image_size: tuple[int, ...], num_photos: int = NUM_PHOTOS
) -> dict[str, Any]:
    """Return the speed and memory of training on JPEG files that are decoded for each step.

    Args:
        config: network, batch size and optimizer; `data.workers` is the number of processes that decode.
        num_steps: number of steps.
        image_size: height and width to which the images are decoded.
        num_photos: number of files.

    Returns:
        `step`, `read` and `train` are images a second: of the compiled steps alone, of reading alone, and of
        both together. `waited` is the share of the time of `train` in which the program waited for images.
        `memory_mib` has pairs of a step of `train` and the memory of this process in MiB (0 unless on Linux).
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "photos")
        folder.mkdir()
        write_photos(folder, num_photos)
        data = DataConfig(
            source="folder",
            path=str(folder),
            image_size=image_size,
            cache_dir=f"{temporary}/cache",
            in_memory=False,
            workers=config.data.workers,
            augmentations=config.data.augmentations,
        )
        return _train(replace(config, data=data), num_steps)


def _train(config: Config, num_steps: int) -> dict[str, Any]:
    dataset = build_data(config.data)
    program = compile_program(program_spec(config, dataset))
    rate = jnp.float32(config.optimizer.arguments["learning_rate"])
    state = program.init(jax.random.key(0), rate, jnp.float32(0))
    feed, size = program.make_feed(*dataset.train), program.batch_size
    order = np.random.default_rng(0).integers(0, program.num_train, (num_steps, size), dtype=np.int32)

    def windows(count: int) -> Iterator[tuple[Examples, int, int]]:
        yield from feed(jnp.asarray(order[:count]), 0)

    examples, start, stop = next(windows(num_steps))
    state = program.run_steps(state, examples, start, stop).state  # the first call takes longer
    result = program.run_steps(state, examples, start, stop)
    state, rates = result.state, {"step": (stop - start) * size / result.seconds}

    began = time.perf_counter()
    counts = [stop - start for _, start, stop in windows(num_steps)]
    rates["read"] = sum(counts) * size / (time.perf_counter() - began)

    done, computed, memory = 0, 0.0, []
    began = time.perf_counter()
    for examples, start, stop in windows(num_steps):
        result = program.run_steps(state, examples, start, stop)
        state, computed, done = result.state, computed + result.seconds, done + stop - start
        if done * NUM_READINGS // num_steps > len(memory):
            memory.append((done, resident_memory() / 2**20))
    seconds = time.perf_counter() - began
    rates["train"] = num_steps * size / seconds
    return {**rates, "waited": 1 - computed / seconds, "memory_mib": memory}
