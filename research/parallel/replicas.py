"""One program for several runs, spread over the replica axis of a layout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from research.parallel.layout import DATA_AXIS, RUN_AXIS, Layout
from research.parallel.strategies import CompiledSteps, RunSteps
from research.training.replicas import Examples, Trained, make_run_replicas
from research.utils.xla import CompilerOptions


def compile_replicas(
    strategy: str,
    run_steps: RunSteps,
    num_replicas: int,
    layout: Layout,
    *arguments: Any,
    options: CompilerOptions = None,
) -> CompiledSteps:
    """Compile the loop of steps of up to ``num_replicas`` runs.

    Between two calls every device holds the state of every run, each by itself, so that runs are evaluated
    and saved as one that is alone. They are stacked in the program.

    Args:
        strategy: "single", "jit" or "shard_map", as for a run alone.
        run_steps: of ``make_run_steps``.
        num_replicas: a multiple of the replica axis.
        layout: devices.
        arguments: shapes of what ``run_steps`` takes, with an order.
        options: of the compiler.

    Returns:
        The program, whose ``run`` takes several states and their examples.
    """
    state, images, labels, order, *bounds = arguments
    whole, shardings = layout.everywhere, layout.shardings_of(state)
    # a loop over an axis that is split would gather it, so that under jit the axis must not be a loop
    at_once = jax.default_backend() != "cpu" or (strategy == "jit" and layout.num_replicas > 1)
    replicas = make_run_replicas(run_steps, at_once=at_once)
    if strategy == "shard_map":
        replica, of_order = P(RUN_AXIS), P(RUN_AXIS, None, DATA_AXIS)
        specs = (replica, P(), P(), of_order, P(), P(), replica)
        # what a step makes varies over data only, what it reads over both, and a loop may not mix them
        replicas = jax.shard_map(
            replicas, mesh=layout.mesh, in_specs=specs, out_specs=replica, check_vma=False
        )

    def place(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(layout.mesh, P(RUN_AXIS, *sharding.spec)))

    def run_all(states: Any, images: Any, labels: Any, orders: Any, *rest: Any) -> list[Trained]:
        stacked: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        stacked = jax.tree.map(place, stacked, shardings)
        trained = replicas(stacked, images, labels, jnp.stack(orders), *rest)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], trained) for i in range(num_replicas)]

    each_state, each_order = [shardings] * num_replicas, [layout.sharding(None, DATA_AXIS)] * num_replicas
    # not donated: what is stacked is a copy already, and a run that has ended may still be needed
    wrapped = jax.jit(
        run_all,
        in_shardings=(each_state, whole, whole, each_order, whole, whole, whole),
        out_shardings=[(shardings, whole)] * num_replicas,
    )
    live = jax.ShapeDtypeStruct((num_replicas,), jnp.bool_)
    shapes = ([state] * num_replicas, images, labels, [order] * num_replicas, *bounds, live)
    compiled = wrapped.lower(*shapes).compile(options)

    def run(
        states: Sequence[Any], examples: Sequence[Examples], start: jax.Array, stop: jax.Array
    ) -> list[Trained]:
        images, labels, _ = examples[0]
        live = np.arange(num_replicas) < len(states)
        idle = num_replicas - len(states)
        states, orders = [*states, *[states[0]] * idle], [order for *_, order in examples]
        trained = compiled(states, images, labels, [*orders, *[orders[0]] * idle], start, stop, live)
        return trained[: len(examples)]

    return CompiledSteps(run, compiled)
