"""One program for several runs, which are split over the run axis of a layout."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from research.parallel.layout import DATA_AXIS, RUN_AXIS, Layout
from research.training.epoch import StepLoop
from research.training.program import Examples, RunMany
from research.training.state import Metrics, TrainState
from research.utils.xla import CompilerOptions

StackedLoop = Callable[[Any, Any, Any, Any, Any, Any, Any], Any]


def stack_runs(run_steps: StepLoop, *, at_once: bool) -> StackedLoop:
    """Return a function that runs training steps of several runs.

    Args:
        run_steps: the function that `make_run_steps` returns.
        at_once: whether each step computes all runs at once (`vmap`), which uses a large device fully.
            Otherwise one run follows the other (`lax.map`), and the result has the bits of separate runs.

    Returns:
        The function `stacked(states, images, labels, orders, start, stop, live) -> (states, metrics)`.
        States, orders `[R, num_steps, B]`, metrics and `live` `[R]` have a first axis of runs. All runs share
        images and labels. The result of a run that is not live has no meaning.
    """

    def stacked(states: Any, images: Any, labels: Any, orders: Any, start: Any, stop: Any, live: Any) -> Any:
        def run(each: tuple[Any, ...]) -> tuple[TrainState, Metrics]:
            state, order, is_live = each
            # under vmap, a number of steps for each run would make every step select the old or new state
            last = stop if at_once else jnp.where(is_live, stop, start)
            return run_steps(state, images, labels, order, start, last)

        return (jax.vmap(run) if at_once else partial(jax.lax.map, run))((states, orders, live))

    return stacked


def compile_stacked(
    strategy: str,
    run_steps: StepLoop,
    num_runs: int,
    layout: Layout,
    *arguments: Any,
    options: CompilerOptions = None,
) -> tuple[RunMany, jax.stages.Compiled]:
    """Return the compiled loop of steps of up to `num_runs` runs, and the executable.

    The states of the runs are separate arguments, and are stacked inside the program. So a run is evaluated
    and saved like a run that is trained alone.

    Args:
        strategy: "single", "jit" or "shard_map".
        run_steps: the function that `make_run_steps` returns.
        num_runs: the largest number of runs, a multiple of the size of the run axis.
        layout: the devices.
        arguments: the shapes of the arguments of `run_steps`, with an order.
        options: the options of the compiler.
    """
    state, images, labels, order, *bounds = arguments
    whole, shardings = layout.everywhere, layout.shardings_of(state)
    # under jit, XLA would gather the states of all devices for a loop over the run axis
    at_once = jax.default_backend() != "cpu" or (strategy == "jit" and layout.num_run_groups > 1)
    stacked = stack_runs(run_steps, at_once=at_once)
    if strategy == "shard_map":
        over_runs, of_order = P(RUN_AXIS), P(RUN_AXIS, None, DATA_AXIS)
        specs = (over_runs, P(), P(), of_order, P(), P(), over_runs)
        # not checked: some values of the loop vary over data only and others over both axes
        stacked = jax.shard_map(
            stacked, mesh=layout.mesh, in_specs=specs, out_specs=over_runs, check_vma=False
        )

    def place(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
        split = NamedSharding(layout.mesh, P(RUN_AXIS, *sharding.spec))
        return jax.lax.with_sharding_constraint(leaf, split)

    def run_all(states: Any, images: Any, labels: Any, orders: Any, *rest: Any) -> list[Any]:
        together: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        together = jax.tree.map(place, together, shardings)
        trained = stacked(together, images, labels, jnp.stack(orders), *rest)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], trained) for i in range(num_runs)]

    of_orders = [layout.sharding(None, DATA_AXIS)] * num_runs
    # not donated: the stacked states are copies, and the state of a run that has ended may still be read
    wrapped = jax.jit(
        run_all,
        in_shardings=([shardings] * num_runs, whole, whole, of_orders, whole, whole, whole),
        out_shardings=[(shardings, whole)] * num_runs,
    )
    live = jax.ShapeDtypeStruct((num_runs,), jnp.bool_)
    shapes = ([state] * num_runs, images, labels, [order] * num_runs, *bounds, live)
    compiled = wrapped.lower(*shapes).compile(options)

    def run_many(
        states: Sequence[TrainState], examples: Sequence[Examples], start: int, stop: int, /
    ) -> Sequence[tuple[TrainState, Metrics]]:
        images, labels, _ = examples[0]
        idle = num_runs - len(states)
        all_states, orders = [*states, *[states[0]] * idle], [order for *_, order in examples]
        orders += [orders[0]] * idle
        live = np.arange(num_runs) < len(states)
        trained = compiled(all_states, images, labels, orders, jnp.int32(start), jnp.int32(stop), live)
        return trained[: len(states)]

    return run_many, compiled
