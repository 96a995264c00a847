# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The training of a network in Flax linen, as in its MNIST example."""

import time
from typing import Any

import jax
import numpy as np
import optax
from flax.training import train_state

from research.frameworks.base import Arrays, Framework, Task
from research.frameworks.networks import flax_linen as networks
from research.frameworks.networks import make_network
from research.frameworks.networks.flax_shared import from_flax, make_optimizer


@jax.jit
def loss_and_gradients(
    state: train_state.TrainState, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, Any]:
    """Return the mean cross-entropy and its gradient."""

    def loss_fn(params: Any) -> jax.Array:
        logits = state.apply_fn({"params": params}, images, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.value_and_grad(loss_fn)(state.params)


@jax.jit
def train_step(
    state: train_state.TrainState, images: jax.Array, labels: jax.Array
) -> tuple[train_state.TrainState, jax.Array]:
    """Return the state after one update, and the loss before the update."""
    loss, grads = loss_and_gradients(state, images, labels)
    return state.apply_gradients(grads=grads), loss


@jax.jit
def predict(state: train_state.TrainState, images: jax.Array) -> jax.Array:
    """Return the logits."""
    return state.apply_fn({"params": state.params}, images, train=False)


class FlaxLinen(Framework):
    """A network without batch norm, trained by a compiled step."""

    def __init__(self, task: Task) -> None:
        self._net = networks.build(make_network(task), task.image_shape)
        self._optimizer = make_optimizer(task)
        self._train_step = train_step

    def load(self, params: Arrays) -> None:
        tree = networks.load(params)["params"]
        self._state = train_state.TrainState.create(apply_fn=self._net.apply, params=tree, tx=self._optimizer)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return from_flax(loss_and_gradients(self._state, images, labels)[1])

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        self._state, loss = train_step(self._state, images, labels)
        return float(loss)

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        batch = order[0, 0]
        started = time.perf_counter()
        self._train_step = train_step.lower(self._state, images[batch], labels[batch]).compile()
        return time.perf_counter() - started

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        for batch in order.reshape(-1, order.shape[-1]):
            self._state, _ = self._train_step(self._state, images[batch], labels[batch])
        jax.block_until_ready(self._state.params)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self._state, images))

    def parameters(self) -> Arrays:
        return networks.read({"params": self._state.params})
