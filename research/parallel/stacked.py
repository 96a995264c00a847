"""One program for several runs, spread over the run axis of a layout."""

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
    """Make `stacked(states, images, labels, orders, start, stop, live) -> (states, metrics)`.

    States, orders `[R, num_steps, B]`, metrics and `live` `[R]` have an axis of runs in front; images
    and labels are shared. What is returned for a run that is not live has no meaning.

    Args:
        run_steps: of `make_run_steps`.
        at_once: whether each step is one of all runs (`vmap`), which fills a wide device. Otherwise each
            run runs all its steps before the next run begins (`lax.map`), with the bits of a run alone.
    """

    def stacked(states: Any, images: Any, labels: Any, orders: Any, start: Any, stop: Any, live: Any) -> Any:
        def run(each: tuple[Any, ...]) -> tuple[TrainState, Metrics]:
            state, order, is_live = each
            # at once all runs take as many steps; otherwise each step would select old or new state
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
    """Compile the loop of steps of up to `num_runs` runs, as `STRATEGIES` compile that of one.

    Between two calls every device holds the state of every run, each by itself, so that a run is evaluated
    and saved like a run that is alone. The states are stacked inside the program.

    Args:
        strategy: "single", "jit" or "shard_map".
        run_steps: of `make_run_steps`.
        num_runs: a multiple of the size of the run axis.
        layout: devices.
        arguments: shapes of what `run_steps` takes, with an order.
        options: of the compiler.
    """
    state, images, labels, order, *bounds = arguments
    whole, shardings = layout.everywhere, layout.shardings_of(state)
    # a loop over an axis that is split would gather it, so under jit the run axis must not be a loop
    at_once = jax.default_backend() != "cpu" or (strategy == "jit" and layout.num_run_groups > 1)
    stacked = stack_runs(run_steps, at_once=at_once)
    if strategy == "shard_map":
        over_runs, of_order = P(RUN_AXIS), P(RUN_AXIS, None, DATA_AXIS)
        specs = (over_runs, P(), P(), of_order, P(), P(), over_runs)
        # what a step makes varies over data only, what it reads over both axes, and a loop may not mix them
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
    # not donated: the stacked state is a copy already, and the state of a run that has ended may be needed
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
