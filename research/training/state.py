"""Everything that a training step reads and writes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.layers.base import Layer, Params, Shape, State


class TrainState(NamedTuple):
    """Arrays only; donated to the compiled steps, except by ``pmap`` and by replicas."""

    step: jax.Array  # int32 []
    params: Params
    model_state: State
    opt_state: Any  # optax.OptState
    key: jax.Array  # typed PRNG key []


class Batch(NamedTuple):
    """Examples of one step."""

    images: jax.Array  # uint8 [N, H, W, C]
    labels: jax.Array  # int32 [N]


class Metrics(NamedTuple):
    """Sums over examples, so that batches, steps and devices add up."""

    loss: jax.Array  # float32 [], nats; of many steps [num_steps]
    correct: jax.Array  # int32 []
    count: jax.Array  # int32 []


def init_state(
    net: Layer, optimizer: optax.GradientTransformation, key: jax.Array, in_shape: Shape
) -> TrainState:
    """The first state: parameters from ``fold_in(key, 0)``, the steps' key ``fold_in(key, 1)``."""
    params, model_state = net.init(jax.random.fold_in(key, 0), in_shape)
    return TrainState(
        jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), jax.random.fold_in(key, 1)
    )
