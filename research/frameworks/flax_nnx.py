# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The reference network in Flax NNX, after its MNIST tutorial."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from research.frameworks.base import ADAM_EPSILON, Arrays, Task, flatten, nest, require_reference
from research.utils.lookup import lookup

OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
    "adam": lambda learning_rate: optax.adam(learning_rate, eps=ADAM_EPSILON),
}


class CNN(nnx.Module):
    """Two convolutions with pools, two dense layers."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, *, rngs: nnx.Rngs) -> None:
        height, width, channels = image_shape
        self.conv1 = nnx.Conv(channels, 16, kernel_size=(3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, kernel_size=(3, 3), rngs=rngs)
        self.dense1 = nnx.Linear(32 * (height // 4) * (width // 4), 64, rngs=rngs)
        self.logits = nnx.Linear(64, num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv1(x)), window_shape=(2, 2), strides=(2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), window_shape=(2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nnx.relu(self.dense1(x))
        return self.logits(x)


def loss_fn(model: CNN, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def train_step(model: CNN, optimizer: nnx.Optimizer, images: jax.Array, labels: jax.Array) -> jax.Array:
    """One update, in place."""
    loss, grads = nnx.value_and_grad(loss_fn)(model, images, labels)
    optimizer.update(model, grads)
    return loss


@nnx.jit
def gradients(model: CNN, images: jax.Array, labels: jax.Array) -> Any:
    """Gradient of the mean cross-entropy."""
    return nnx.grad(loss_fn)(model, images, labels)


@nnx.jit
def predict(model: CNN, images: jax.Array) -> jax.Array:
    """Logits."""
    return model(images)


class FlaxNNX:
    """The adapter."""

    def __init__(self, task: Task) -> None:
        require_reference(task)
        # without arrays, because load brings its own
        self._net = nnx.eval_shape(lambda: CNN(task.image_shape, task.num_classes, rngs=nnx.Rngs(0)))
        self._transform = lookup(OPTIMIZERS, task.optimizer, "optimizer")(task.learning_rate)

    def load(self, params: Arrays) -> None:
        nnx.update(self._net, jax.tree.map(jnp.asarray, nest(params)))
        self._optimizer = nnx.Optimizer(self._net, self._transform, wrt=nnx.Param)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return flatten(nnx.to_pure_dict(gradients(self._net, jnp.asarray(images), jnp.asarray(labels))))

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        return float(train_step(self._net, self._optimizer, jnp.asarray(images), jnp.asarray(labels)))

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        batch = order[0, 0]
        started = time.perf_counter()
        x, y = jnp.asarray(images[batch]), jnp.asarray(labels[batch])
        train_step.lower(self._net, self._optimizer, x, y).compile()
        return time.perf_counter() - started

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        # the tutorials' way to look through the modules once and not at every step
        cached_step = nnx.cached_partial(train_step, self._net, self._optimizer)
        for batch in order.reshape(-1, order.shape[-1]):
            cached_step(jnp.asarray(images[batch]), jnp.asarray(labels[batch]))
        jax.block_until_ready(nnx.state(self._net))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self._net, jnp.asarray(images)))

    def parameters(self) -> Arrays:
        return flatten(nnx.to_pure_dict(nnx.state(self._net, nnx.Param)))
