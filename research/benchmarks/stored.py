"""The speed and memory of training on images that stay on disk."""

import tempfile
import time
from contextlib import closing
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
from research.utils.memory import resident_memory

NUM_PHOTOS = 2000
"""The number of JPEG files. The benchmark reads each of them many times."""

NUM_READINGS = 20
"""The number of readings of the memory."""


def time_stored(
    config: Config, num_steps: int, image_size: tuple[int, ...] | None, num_photos: int = NUM_PHOTOS
) -> dict[str, Any]:
    """Return the speed and memory of training on images that are decoded for each step.

    Args:
        config: network, batch size and optimizer; `data.workers` is the number of processes that decode.
        num_steps: number of steps.
        image_size: height and width to which JPEG files of 300 by 400 pixels are decoded. If it is `None`,
            the images are those of `config.data`.
        num_photos: number of these files.

    Returns:
        `step`, `read` and `train` are images a second: of the compiled steps alone, of reading alone, and of
        both together. The start of the threads or processes that read is not counted. `waited` is the share
        of the time of `train` in which the program waited for images. `memory_mib` has pairs of a step of
        `train` and the memory of this process in MiB (0 unless on Linux).
    """
    if image_size is None:
        return _train(replace(config, data=replace(config.data, in_memory=False)), num_steps)
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
    rng = np.random.default_rng(0)

    def order(count: int) -> jax.Array:
        return jnp.asarray(rng.integers(0, program.num_train, (count, size), dtype=np.int32))

    with closing(feed([order(1)], 0)) as windows:
        examples, _, _ = next(windows)
    window = len(examples[0])
    state = program.run_steps(state, examples, 0, window).state  # the first call takes longer
    result = program.run_steps(state, examples, 0, window)
    state, rates = result.state, {"step": window * size / result.seconds}

    with closing(feed([order(1), order(num_steps)], 0)) as windows:
        next(windows)  # the threads or processes have started
        began = time.perf_counter()
        for _ in windows:
            pass
        rates["read"] = num_steps * size / (time.perf_counter() - began)

    done, computed, memory = 0, 0.0, []
    with closing(feed([order(1), order(num_steps)], 0)) as windows:
        next(windows)
        began = time.perf_counter()
        for examples, start, stop in windows:
            result = program.run_steps(state, examples, start, stop)
            state, computed, done = result.state, computed + result.seconds, done + stop - start
            if done * NUM_READINGS // num_steps > len(memory):
                memory.append((done, resident_memory() / 2**20))
        seconds = time.perf_counter() - began
    rates["train"] = num_steps * size / seconds
    return {**rates, "waited": 1 - computed / seconds, "memory_mib": memory}
