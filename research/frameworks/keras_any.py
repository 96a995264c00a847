# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The reference network in Keras 3, after its MNIST example, on the backend that is asked for."""

import importlib
import os
import time
from typing import Any

import numpy as np

from research.frameworks.base import ADAM_EPSILON, Arrays, Task, require_reference
from research.utils.lookup import lookup


class Keras:
    """The adapter; a process can have one backend only, because Keras chooses it when it is imported."""

    def __init__(self, task: Task, backend: str) -> None:
        require_reference(task)
        os.environ["KERAS_BACKEND"] = backend
        self._keras = keras = importlib.import_module("keras")
        if keras.backend.backend() != backend:
            raise RuntimeError(f"Keras runs on {keras.backend.backend()} in this process, not on {backend}")
        layers = keras.layers
        self._net = keras.Sequential(
            [
                keras.Input(shape=task.image_shape),
                layers.Conv2D(16, kernel_size=(3, 3), padding="same", activation="relu", name="conv1"),
                layers.MaxPooling2D(pool_size=(2, 2)),
                layers.Conv2D(32, kernel_size=(3, 3), padding="same", activation="relu", name="conv2"),
                layers.MaxPooling2D(pool_size=(2, 2)),
                layers.Flatten(),
                layers.Dense(64, activation="relu", name="dense1"),
                layers.Dense(task.num_classes, name="logits"),
            ]
        )
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
        for name in dict.fromkeys(key.split("/")[0] for key in params):
            self._net.get_layer(name).set_weights([params[f"{name}/kernel"], params[f"{name}/bias"]])
        for variable, start in self._optimizer_start:  # another optimizer would be another compilation
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
        # Keras compiles inside its first step, so what that takes longer than the second one is compilation
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
        return self._named([variable.numpy() for variable in self._net.trainable_variables])

    def _fit(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._net.fit(images, labels, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)

    def _named(self, values: list[Any]) -> Arrays:
        names = [f"{v.path.split('/')[-2]}/{v.name}" for v in self._net.trainable_variables]
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
