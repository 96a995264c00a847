# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The training of a network in Flax NNX, as in its MNIST tutorial."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from research.frameworks.base import Arrays, Framework, Task
from research.frameworks.networks import flax_nnx as networks
from research.frameworks.networks import make_network
from research.frameworks.networks.flax_shared import from_flax, make_optimizer


def loss_fn(model: networks.Net, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def train_step(model: networks.Net, optimizer: nnx.Optimizer, images: jax.Array, labels: jax.Array) -> Any:
    """Update the model in place, and return the loss before the update."""
    loss, grads = nnx.value_and_grad(loss_fn)(model, images, labels)
    optimizer.update(model, grads)
    return loss


@nnx.jit
def gradients(model: networks.Net, images: jax.Array, labels: jax.Array) -> Any:
    """Return the gradient of the mean cross-entropy."""
    return nnx.grad(loss_fn)(model, images, labels)


@nnx.jit
def predict(model: networks.Net, images: jax.Array) -> jax.Array:
    """Return the logits."""
    return model(images)


class FlaxNNX(Framework):
    """A network without batch norm, trained by a compiled step that updates it in place."""

    def __init__(self, task: Task) -> None:
        net = make_network(task)
        # the module has no arrays until `load` sets them
        self._net = nnx.eval_shape(lambda: networks.Net(net, task.image_shape, nnx.Rngs(0)))
        self._transform = make_optimizer(task)

    def load(self, params: Arrays) -> None:
        networks.load(self._net, params)
        self._optimizer = nnx.Optimizer(self._net, self._transform, wrt=nnx.Param)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return from_flax(nnx.to_pure_dict(gradients(self._net, jnp.asarray(images), jnp.asarray(labels))))

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        return float(train_step(self._net, self._optimizer, jnp.asarray(images), jnp.asarray(labels)))

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        batch = order[0, 0]
        started = time.perf_counter()
        x, y = jnp.asarray(images[batch]), jnp.asarray(labels[batch])
        train_step.lower(self._net, self._optimizer, x, y).compile()
        return time.perf_counter() - started

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        # cached_partial, which the tutorials use, traverses the modules once instead of at every step
        cached_step = nnx.cached_partial(train_step, self._net, self._optimizer)
        for batch in order.reshape(-1, order.shape[-1]):
            cached_step(jnp.asarray(images[batch]), jnp.asarray(labels[batch]))
        jax.block_until_ready(nnx.state(self._net))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self._net, jnp.asarray(images)))

    def parameters(self) -> Arrays:
        return networks.read(self._net)
