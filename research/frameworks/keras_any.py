# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The training of a network in Keras 3, as in its MNIST example, on one of its backends."""

import importlib
import os
import time
from typing import Any

import numpy as np

from research.frameworks.base import ADAM_EPSILON, Arrays, Framework, Task
from research.utils.lookup import lookup


class Keras(Framework):
    """A network without batch norm. A process has only one backend, which Keras takes when it is imported.

    Args:
        task: the network, and how it is trained.
        backend: "jax" or "torch".
    """

    def __init__(self, task: Task, backend: str) -> None:
        os.environ["KERAS_BACKEND"] = backend
        self._keras = keras = importlib.import_module("keras")
        if keras.backend.backend() != backend:
            raise RuntimeError(f"Keras runs on {keras.backend.backend()} in this process, not on {backend}")
        from research.frameworks.networks import keras_layers as networks
        from research.frameworks.networks import make_network

        self._networks = networks
        self._net = networks.build(make_network(task), task.image_shape)
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizers = {
            "sgd": lambda rate: keras.optimizers.SGD(rate),
            "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
            "adam": lambda rate: keras.optimizers.Adam(rate, epsilon=ADAM_EPSILON),
        }
        optimizer = lookup(optimizers, task.optimizer, "optimizer")(task.learning_rate)
        self._net.compile(optimizer=optimizer, loss=self._loss)
        optimizer.build(self._net.trainable_variables)
        self._optimizer_start = [(variable, variable.numpy().copy()) for variable in optimizer.variables]
        self._backend = backend

    def load(self, params: Arrays) -> None:
        self._networks.load(self._net, params)
        for variable, start in self._optimizer_start:  # a new optimizer would have to be compiled again
            variable.assign(start)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        compute = self._jax_gradients if self._backend == "jax" else self._torch_gradients
        return self._named(compute(images, labels))

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        self._net.reset_metrics()
        return float(self._net.train_on_batch(images, labels))

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        if self._backend != "jax":
            return None
        # Keras compiles inside its first step, so compilation is the difference to the second step
        batch = order[0, 0]
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            self._fit(images[batch], labels[batch], len(batch))
            seconds.append(time.perf_counter() - started)
        return seconds[0] - seconds[1]

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        for epoch in order:
            self._fit(images[epoch.ravel()], labels[epoch.ravel()], order.shape[-1])

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self._net.predict(images, verbose=0)

    def parameters(self) -> Arrays:
        return self._networks.read(self._net)

    def _fit(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._net.fit(images, labels, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)

    def _named(self, values: list[Any]) -> Arrays:
        paths = {id(v): path for path, v in self._networks.variables(self._net).items()}
        names = [paths[id(variable)] for variable in self._net.trainable_variables]
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def _jax_gradients(self, images: np.ndarray, labels: np.ndarray) -> list[Any]:
        import jax

        def loss(variables: list[Any]) -> Any:
            logits, _ = self._net.stateless_call(variables, [], images, training=True)
            return self._loss(labels, logits)

        return jax.grad(loss)([variable.value for variable in self._net.trainable_variables])

    def _torch_gradients(self, images: np.ndarray, labels: np.ndarray) -> list[Any]:
        self._net.zero_grad()
        self._loss(labels, self._net(images, training=True)).backward()
        return [variable.value.grad.numpy() for variable in self._net.trainable_variables]
