"""The strategies that compile a loop of training steps for the devices of a layout.

Each strategy takes the function that `make_run_steps` returns, the layout, and the shapes of the function's
arguments. It returns the compiled function, and the executable, from which the text and the memory of the
program can be read.
"""

from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from research.parallel.layout import DATA_AXIS, Layout
from research.training.epoch import StepLoop
from research.utils.xla import CompilerOptions


def jit(
    run_steps: StepLoop, layout: Layout, *arguments: Any, options: CompilerOptions = None
) -> tuple[StepLoop, jax.stages.Compiled]:
    """Compile under `jax.jit`: the compiler splits the program by the shardings of its arguments.

    The compiler also adds the collective operations with which the devices exchange data.

    Source: Xu et al. (2021), GSPMD: general and scalable parallelization for ML computation graphs.
    """
    state, *data, _, _ = arguments
    whole, states = layout.everywhere, layout.shardings_of(state)
    wrapped = jax.jit(
        run_steps,
        in_shardings=(states, *_place(data, whole, layout.sharding(None, DATA_AXIS)), whole, whole),
        out_shardings=(states, whole),
        donate_argnums=0,
    )
    compiled = wrapped.lower(*arguments).compile(options)
    return compiled, compiled


def shard_map(
    run_steps: StepLoop, layout: Layout, *arguments: Any, options: CompilerOptions = None
) -> tuple[StepLoop, jax.stages.Compiled]:
    """Compile under `jax.shard_map`: every device runs the program on its part of each batch.

    The collective operations are written in the training step. The map is around the loop of steps and not
    inside it, so state and metrics cross it once per call.
    """
    _, *data, _, _ = arguments
    specs = (P(), *_place(data, P(), P(None, DATA_AXIS)), P(), P())
    mapped = jax.shard_map(run_steps, mesh=layout.mesh, in_specs=specs, out_specs=P())
    compiled = jax.jit(mapped, donate_argnums=0).lower(*arguments).compile(options)
    return compiled, compiled


def pmap(
    run_steps: StepLoop, layout: Layout, *arguments: Any, options: CompilerOptions = None
) -> tuple[StepLoop, jax.stages.Compiled]:
    """Compile like `shard_map`, but with `jax.pmap`, which JAX only maintains since version 0.8."""
    _, *data, _, _ = arguments
    axes: Any = (None, *_place(data, None, 1), None, None)
    devices = layout.mesh.devices.ravel().tolist()
    mapped: Any = jax.pmap(run_steps, DATA_AXIS, in_axes=axes, out_axes=None, devices=devices)

    def by_device(*arguments: Any) -> list[Any]:
        """Return the arguments with each batch axis `[B]` as `[devices, B / devices]`."""
        return [
            argument
            if axis is None
            else argument.reshape(len(argument), len(devices), -1, *argument.shape[2:])
            for argument, axis in zip(arguments, axes, strict=True)
        ]

    compiled = mapped.lower(*jax.eval_shape(by_device, *arguments)).compile(options)
    return lambda *arguments: compiled(*by_device(*arguments)), compiled


def _place(data: list[Any], whole: Any, split: Any) -> list[Any]:
    """Return the placement of images, labels and order. If there is no order, the examples are split."""
    return [whole, whole, split] if data[2] is not None else [split, split, None]


STRATEGIES = {"single": jit, "jit": jit, "shard_map": shard_map, "pmap": pmap}

EXPLICIT_COLLECTIVES = ("shard_map", "pmap")
"""The strategies under which the training step itself averages over the data axis."""


def default_strategy(num_devices: int, num_model: int, platform: str) -> str:
    """Return the strategy that `auto` chooses: `single`, `shard_map` on several CPU devices, or `jit`.

    Args:
        num_devices: the number of devices of the layout.
        num_model: the size of its model axis. Only `jit` can split over it.
        platform: "cpu", "gpu" or "tpu".

    Example:
        >>> [default_strategy(*which) for which in ((2, 1, "cpu"), (8, 1, "gpu"), (1, 1, "gpu"))]
        ['shard_map', 'jit', 'single']
    """
    if num_devices == 1:
        return "single"
    return "shard_map" if platform == "cpu" and num_model == 1 else "jit"
