# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The training of a network in PyTorch, eagerly, as in its quickstart."""

import numpy as np
import torch
import torch.nn.functional as F

from research.frameworks.base import ADAM_EPSILON, Arrays, Framework, Task
from research.frameworks.networks import make_network
from research.frameworks.networks import pytorch as networks
from research.utils.lookup import lookup

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, eps=ADAM_EPSILON),
}


class Torch(Framework):
    """A network without batch norm, in PyTorch.

    Args:
        task: the network, and how it is trained.
        channels_last: store images and kernels in memory as NHWC.
    """

    def __init__(self, task: Task, channels_last: bool = False) -> None:
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._net = networks.build(make_network(task), task.image_shape)
        self._net.to(memory_format=self._format)  # pyright: ignore[reportCallIssue]  missing in its types
        self._make_optimizer = lookup(OPTIMIZERS, task.optimizer, "optimizer")
        self._learning_rate = task.learning_rate

    def load(self, params: Arrays) -> None:
        networks.load(self._net, params)
        self._optimizer = self._make_optimizer(self._net.parameters(), lr=self._learning_rate)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        self._backward(self._images(images), torch.from_numpy(labels).long())
        return networks.read_gradients(self._net)

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        loss = self._backward(self._images(images), torch.from_numpy(labels).long())
        self._optimizer.step()
        return loss.item()

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        x, y = self._images(images), torch.from_numpy(labels).long()
        for batch in torch.from_numpy(order).reshape(-1, order.shape[-1]):
            self._backward(x[batch], y[batch])
            self._optimizer.step()

    def predict(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self._net(self._images(images)).numpy()

    def parameters(self) -> Arrays:
        return networks.read(self._net)

    def _backward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self._optimizer.zero_grad()
        loss = F.cross_entropy(self._net(x), y)
        loss.backward()
        return loss

    def _images(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=self._format)
