# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The training of a network in this codebase, by its own training step."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.frameworks.base import ADAM_EPSILON, Arrays, Framework, Task
from research.frameworks.networks import make_network
from research.frameworks.networks.names import flatten
from research.training.epoch import make_run_steps
from research.training.losses import cross_entropy
from research.training.optimizers import make_optimizer
from research.training.schedules import SCHEDULES
from research.training.state import Batch, TrainState
from research.training.step import make_train_step
from research.utils.nested import nested


class Jax(Framework):
    """A network of `research.models` without batch norm.

    With im2col all the steps of an epoch are one compiled program, as everywhere in this codebase. With lax
    each step is a program of its own, because XLA on the CPU has a fast form of `lax.conv` only outside of
    loops.

    Args:
        task: the network, and how it is trained.
        algorithm: a name of `CONV_ALGORITHMS`.
    """

    def __init__(self, task: Task, algorithm: str) -> None:
        net = make_network(task, algorithm=algorithm)
        numbers: dict[str, Any] = {"learning_rate": task.learning_rate}
        numbers |= {"epsilon": ADAM_EPSILON} if task.optimizer == "adam" else {}
        optimizer = make_optimizer(task.optimizer, SCHEDULES["constant"](1), **numbers)
        train_step = make_train_step(net, optimizer, cross_entropy, lambda images, keys=None: images)
        self._one_program = algorithm != "lax"
        self._num_rows = 0
        self._step: Any = jax.jit(train_step, donate_argnums=0)
        self._run_steps: Any = jax.jit(make_run_steps(train_step), donate_argnums=0)

        def loss(params: Any, images: Any, labels: Any) -> jax.Array:
            return cross_entropy(net.apply(params, {}, images, train=True)[0], labels).mean()

        def start(params: Any) -> TrainState:
            return TrainState(jnp.int32(0), params, {}, optimizer.init(params), jax.random.key(0))

        self._start = jax.jit(start)
        self._gradients = jax.jit(jax.grad(loss))
        self._predict = jax.jit(lambda params, images: net.apply(params, {}, images, train=False)[0])

    def load(self, params: Arrays) -> None:
        self._state = self._start(nested(params, "/"))

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return flatten(self._gradients(self._state.params, images, labels))

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        if self._one_program:
            order = np.arange(len(labels), dtype=np.int32)[None]
            self._state, metrics = self._run_steps(self._state, images, labels, order, 0, 1)
        else:
            self._state, metrics = self._step(self._state, Batch(jnp.asarray(images), jnp.asarray(labels)))
        return float(metrics.loss.sum()) / len(labels)

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        started = time.perf_counter()
        if self._one_program:
            arguments = (images, labels, order[0], 0, 1)
            self._run_steps = self._run_steps.lower(self._state, *arguments).compile()
            self._num_rows = order.shape[1]
        else:
            batch = next(_batches(images, labels, order))
            self._step = self._step.lower(self._state, batch).compile()
        return time.perf_counter() - started

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        if self._one_program:
            examples = jax.device_put((images, labels))
            for epoch in order:
                # the program is compiled for this number of rows, and runs only those of the epoch
                rows = np.pad(epoch, ((0, max(0, self._num_rows - len(epoch))), (0, 0)))
                self._state, _ = self._run_steps(self._state, *examples, rows, 0, len(epoch))
        else:
            for batch in _batches(images, labels, order):
                self._state, _ = self._step(self._state, batch)
        jax.block_until_ready(self._state)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._predict(self._state.params, images))

    def parameters(self) -> Arrays:
        return flatten(self._state.params)


def _batches(images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> Iterator[Batch]:
    for batch in order.reshape(-1, order.shape[-1]):
        yield Batch(jnp.asarray(images[batch]), jnp.asarray(labels[batch]))
