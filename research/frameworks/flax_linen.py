# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The reference network in Flax linen, after its MNIST example."""

import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state

from research.frameworks.base import ADAM_EPSILON, Arrays, Task, flatten, nest, require_reference
from research.utils.lookup import lookup

OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
    "adam": lambda learning_rate: optax.adam(learning_rate, eps=ADAM_EPSILON),
}


class CNN(nn.Module):
    """Two convolutions with pools, two dense layers."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(features=16, kernel_size=(3, 3), name="conv1")(x)
        x = nn.relu(x)
        x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = nn.Conv(features=32, kernel_size=(3, 3), name="conv2")(x)
        x = nn.relu(x)
        x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))
        x = nn.Dense(features=64, name="dense1")(x)
        x = nn.relu(x)
        return nn.Dense(features=self.num_classes, name="logits")(x)


@jax.jit
def loss_and_gradients(
    state: train_state.TrainState, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, Any]:
    """Mean cross-entropy and its gradient."""

    def loss_fn(params: Any) -> jax.Array:
        logits = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.value_and_grad(loss_fn)(state.params)


@jax.jit
def train_step(
    state: train_state.TrainState, images: jax.Array, labels: jax.Array
) -> tuple[train_state.TrainState, jax.Array]:
    """One update."""
    loss, grads = loss_and_gradients(state, images, labels)
    return state.apply_gradients(grads=grads), loss


@jax.jit
def predict(state: train_state.TrainState, images: jax.Array) -> jax.Array:
    """Logits."""
    return state.apply_fn({"params": state.params}, images)


class FlaxLinen:
    """The adapter."""

    def __init__(self, task: Task) -> None:
        require_reference(task)
        self._net = CNN(task.num_classes)
        self._optimizer = lookup(OPTIMIZERS, task.optimizer, "optimizer")(task.learning_rate)
        self._train_step = train_step

    def load(self, params: Arrays) -> None:
        tree = jax.tree.map(jnp.asarray, nest(params))
        self._state = train_state.TrainState.create(apply_fn=self._net.apply, params=tree, tx=self._optimizer)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return flatten(loss_and_gradients(self._state, images, labels)[1])

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
        return flatten(self._state.params)
