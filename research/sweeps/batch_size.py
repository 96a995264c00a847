"""The search for the largest batch that fits into memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from research.config import Config, ConfigError
from research.data import Dataset
from research.runs.build import build_data
from research.runs.program import compile_program
from research.runs.settings import run_settings
from research.runs.spec import ProgramSpec, program_spec
from research.training.program import Program
from research.utils.memory import free_memory

SHARE = 0.9
"""The share of the free memory that the training steps may take. The rest is for evaluation and copies."""


@dataclass(frozen=True)
class Trial:
    """One batch size that was tried.

    Args:
        batch_size: the number of images in a training step, over all devices.
        num_bytes: the memory of the compiled steps on one device, or of all devices that share the memory of
            a CPU; `None` if the memory did not suffice to compile them.
        fits: whether the steps fit into memory.
    """

    batch_size: int
    num_bytes: int | None
    fits: bool


@run_settings()
def find_batch_size(
    config: Config, free: int | None = None, on_trial: Callable[[Trial], object] = lambda trial: None
) -> list[Trial]:
    """Return the batch sizes that were tried; the largest one that fits is the answer.

    The training steps are compiled for each size, and their memory is read from XLA's `memory_analysis`. It
    holds the training split, the state, and everything in between. On an accelerator one step is run, too.
    On a CPU none is, because the kernel would kill the process.

    Args:
        config: the configuration of the run, whose batch size is tried first.
        free: the free memory in bytes; `None`: that of the device, or of this machine for a CPU.
        on_trial: called with each trial when it ends, since on an accelerator each one takes seconds.

    Raises:
        ConfigError: no batch fits, the backend does not report the memory of a program, or the configuration
            does not fit the data.
        DataError: the dataset is missing or damaged.
    """
    dataset = build_data(config.data)
    layout = program_spec(config, dataset).layout
    unit = layout.num_shards * (config.training.accumulate or 1)
    if free is None:
        free = _free_bytes()
    trials: list[Trial] = []

    def try_size(count: int) -> Trial:
        training = replace(config.training, batch_size=count * unit)
        trial = _try(program_spec(replace(config, training=training), dataset), dataset, free)
        trials.append(trial)
        on_trial(trial)
        return trial

    most = len(dataset.train.labels) // unit
    if not largest_fit(try_size, SHARE * free, config.training.batch_size // unit, most):
        needed = trials[-1].num_bytes
        takes = "" if needed is None else f"takes {needed / 1e6:,.0f} MB and "
        raise ConfigError(
            f"training.batch_size={trials[-1].batch_size} {takes}does not fit into the free memory of "
            f"{free / 1e6:,.0f} MB; give a smaller model, or less data by data.train_limit or training.window"
        )
    return trials


def largest_fit(try_size: Callable[[int], Trial], limit: float, start: int, most: int) -> int:
    """Return the largest number up to `most` that fits, to within a sixteenth, or 0 if 1 does not fit.

    Memory grows about linearly with the batch, so after two sizes the third is predicted, and the fourth
    shows that a sixteenth more does not fit. If the prediction fails, numbers are doubled and halved between.

    Args:
        try_size: returns the trial of a number.
        limit: the memory that there is.
        start: the number that is tried first.
        most: the largest number that is allowed, at least `start`.

    Example:
        >>> def try_size(number):
        ...     needed = 10 * number + 50
        ...     return Trial(number, needed, needed <= 1050)
        >>> largest_fit(try_size, 1050, start=8, most=1000)
        96
    """
    low, high, number, predicted = 0, most + 1, start, 0
    known: list[tuple[int, int]] = []
    while high - low > max(1, low // 16):
        trial = try_size(number)
        if trial.num_bytes is not None:
            known.append((number, trial.num_bytes))
        if trial.fits:
            low = number
        else:
            high = number
        if low == predicted > 0:
            number, predicted = low + max(1, low // 16), 0
            continue
        predicted = min(_predict(known, limit), most)
        if not low + low // 16 < predicted < high:
            predicted = 0
        number = predicted or (min(2 * low, most) if high > most else (low + high) // 2)
    return low


def _predict(known: list[tuple[int, int]], limit: float) -> int:
    """Return a number just below the one whose memory is `limit` on the line through the last two, or 0."""
    if len(known) < 2:
        return 0
    (first, bytes_first), (second, bytes_second) = known[-2:]
    if bytes_second == bytes_first or first == second:
        return 0
    slope = (bytes_second - bytes_first) / (second - first)
    return max(0, int((second + (limit - bytes_second) / slope) * 31 / 32))


def _try(spec: ProgramSpec, dataset: Dataset, free: int) -> Trial:
    on_cpu = jax.default_backend() == "cpu"
    num_bytes = None
    try:
        program = compile_program(spec)
        num_bytes = _num_bytes(program) * (spec.layout.mesh.size if on_cpu else 1)
        if num_bytes > SHARE * free:
            return Trial(spec.batch_size, num_bytes, False)
        if not on_cpu:
            _run_one_step(program, dataset)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Trial(spec.batch_size, num_bytes, False)
    return Trial(spec.batch_size, num_bytes, True)


def _num_bytes(program: Program) -> int:
    memory = program.executable and program.executable.memory_analysis()
    if memory is None:
        raise ConfigError(
            f"the backend {jax.default_backend()} does not report the memory of a program; "
            "try training.batch_size by hand"
        )
    # the new state is written into the memory of the old one, which is counted once
    sizes = memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.temp_size_in_bytes
    return sum(sizes) - memory.alias_size_in_bytes


def _run_one_step(program: Program, dataset: Dataset) -> None:
    zero = jnp.float32(0)
    state = program.init(jax.random.key(0), zero, zero)
    size = program.steps_per_epoch, program.batch_size
    order = jnp.arange(size[0] * size[1], dtype=jnp.int32).reshape(size)
    examples, start, _ = next(program.make_feed(*dataset.train)([order], 0))
    program.run_steps(state, examples, start, start + 1)


def _free_bytes() -> int:
    stats = jax.local_devices()[0].memory_stats()
    if jax.default_backend() == "cpu" or not stats:
        return free_memory()
    return stats["bytes_limit"] - stats["bytes_in_use"]
