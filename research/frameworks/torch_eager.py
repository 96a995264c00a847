# ruff: noqa: D102 -- the methods are documented once, in Framework
"""The reference network in PyTorch, run eagerly, after its quickstart."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from research.frameworks.base import ADAM_EPSILON, Arrays, Task, require_reference
from research.utils.lookup import lookup

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, eps=ADAM_EPSILON),
}


class CNN(nn.Module):
    """Two convolutions with pools, two dense layers."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        height, width, channels = image_shape
        self.conv1 = nn.Conv2d(channels, 16, 3, padding="same")
        self.conv2 = nn.Conv2d(16, 32, 3, padding="same")
        self.dense1 = nn.Linear(32 * (height // 4) * (width // 4), 64)
        self.logits = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images ``[N, C, H, W]``."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.dense1(x))
        return self.logits(x)


class Torch:
    """The adapter: PyTorch wants NCHW, OIHW and ``[D_out, D_in]`` with pixels in NCHW order."""

    def __init__(self, task: Task, channels_last: bool = False) -> None:
        require_reference(task)
        height, width, _ = task.image_shape
        self._pooled_shape = (height // 4, width // 4, 32)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        net = CNN(task.image_shape, task.num_classes)
        self._net = net.to(memory_format=self._format)  # pyright: ignore[reportCallIssue]  missing in its types
        self._make_optimizer = lookup(OPTIMIZERS, task.optimizer, "optimizer")
        self._learning_rate = task.learning_rate

    def load(self, params: Arrays) -> None:
        tensors = {_torch_name(name): torch.tensor(self._to_torch(name, a)) for name, a in params.items()}
        self._net.load_state_dict(tensors)
        self._optimizer = self._make_optimizer(self._net.parameters(), lr=self._learning_rate)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        self._backward(self._images(images), torch.from_numpy(labels).long())
        return self._named({name: p.grad for name, p in self._net.named_parameters()})

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        loss = self._backward(self._images(images), torch.from_numpy(labels).long())
        self._optimizer.step()
        return loss.item()

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        return None

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        x, y = self._images(images), torch.from_numpy(labels).long()
        for batch in torch.from_numpy(order).reshape(-1, order.shape[-1]):
            self._backward(x[batch], y[batch])
            self._optimizer.step()

    def predict(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self._net(self._images(images)).numpy()

    def parameters(self) -> Arrays:
        return self._named(dict(self._net.named_parameters()))

    def _backward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self._optimizer.zero_grad()
        loss = F.cross_entropy(self._net(x), y)
        loss.backward()
        return loss

    def _images(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=self._format)

    def _named(self, tensors: dict[str, torch.Tensor]) -> Arrays:
        names = {name: name.replace(".weight", "/kernel").replace(".bias", "/bias") for name in tensors}
        return {names[n]: self._from_torch(names[n], t.detach().numpy()) for n, t in tensors.items()}

    def _to_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        if array.ndim == 4:
            return array.transpose(3, 2, 0, 1)
        if name == "dense1/kernel":
            return array.reshape(*self._pooled_shape, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
        return array.T

    def _from_torch(self, name: str, array: np.ndarray) -> np.ndarray:
        if array.ndim == 4:
            return array.transpose(2, 3, 1, 0).copy()
        if name == "dense1/kernel":
            height, width, channels = self._pooled_shape
            nchw = array.reshape(-1, channels, height, width)
            return nchw.transpose(2, 3, 1, 0).reshape(-1, len(array))
        return array.T.copy()


def _torch_name(name: str) -> str:
    return name.replace("/kernel", ".weight").replace("/bias", ".bias")
