# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The training of the reference network that is written in NumPy."""

import numpy as np

from research.frameworks.base import ADAM_EPSILON, Arrays, Framework, Task
from research.frameworks.numpy_scratch.network import REFERENCE, forward, loss_and_gradients
from research.frameworks.numpy_scratch.optimizers import OPTIMIZERS
from research.utils.lookup import lookup


class NumPy(Framework):
    """The reference network in NumPy alone, forward and backward."""

    def __init__(self, task: Task) -> None:
        if task.model != "reference" or task.model_arguments:
            raise ValueError(
                f"model={task.model!r} with {dict(task.model_arguments)} is not written in NumPy; "
                "only the model reference without arguments is"
            )
        more = {"epsilon": ADAM_EPSILON} if task.optimizer == "adam" else {}
        self._optimizer = lookup(OPTIMIZERS, task.optimizer, "optimizer")(task.learning_rate, **more)

    def load(self, params: Arrays) -> None:
        self._params = dict(params)
        self._state = self._optimizer.init(self._params)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return loss_and_gradients(REFERENCE, self._params, images, labels)[1]

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        loss, gradients = loss_and_gradients(REFERENCE, self._params, images, labels)
        self._params, self._state = self._optimizer.update(self._params, gradients, self._state)
        return loss

    def predict(self, images: np.ndarray) -> np.ndarray:
        return forward(REFERENCE, self._params, images)[0]

    def parameters(self) -> Arrays:
        return dict(self._params)
