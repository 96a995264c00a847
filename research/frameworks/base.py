"""What the comparison asks of a framework, and the table of the frameworks there are."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from research.utils.lookup import lookup

Arrays = dict[str, np.ndarray]

OPTIMIZERS = ("sgd", "momentum", "adam")
"""What every framework can train with: momentum of 0.9; Adam with 0.9, 0.999 and ``ADAM_EPSILON``."""

ADAM_EPSILON = 1e-10
"""So small that it does not matter where it is added: in Keras before the bias correction, elsewhere after.

With 1e-8 the losses of Keras and the others differ by 2e-3 after 50 steps on MNIST.
"""


@dataclass(frozen=True)
class Task:
    """What every framework is to build and how it is to train it.

    Args:
        image_shape: ``(H, W, C)``.
        num_classes: number of logits.
        optimizer: a name of ``OPTIMIZERS``.
        learning_rate: constant over the run.
        model: a name of ``research.models.MODELS``; frameworks other than ours have "reference" only.
        model_arguments: numbers of that model.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    model: str = "reference"
    model_arguments: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Framework(Protocol):
    """The reference network in one framework, built as that framework's tutorials build it.

    A class that takes a ``Task``, and has these methods, is all that another framework needs, with a line in
    ``FRAMEWORKS``. Images are float32 ``[N, H, W, C]`` in [0, 1], labels int32 ``[N]``; the loss is the mean
    cross-entropy in nats. Parameters go in and out under the names ``conv1/kernel`` and so on, kernels
    as ``[kh, kw, C_in, C_out]`` or ``[D_in, D_out]``, D_in in the order of an NHWC image in memory.
    """

    def load(self, params: Arrays) -> None:
        """Take these parameters and forget the optimizer's state."""
        ...

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Gradient of the mean loss, by the names and in the layout of the parameters."""
        ...

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Update the parameters once; the loss is the one before the update."""
        ...

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        """Compile what ``train`` with such arguments needs, and say how many seconds it took.

        ``None`` where nothing is compiled. The parameters are to be loaded again afterwards.
        """
        ...

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        """Update once for each row of ``order``, int32 ``[epochs, steps, B]``, and wait until it is done."""
        ...

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits ``[N, num_classes]``."""
        ...

    def parameters(self) -> Arrays:
        """The parameters as ``load`` takes them."""
        ...


@dataclass(frozen=True)
class Entry:
    """Where a framework's adapter is, and what it needs.

    Args:
        path: "module:class".
        packages: distributions whose versions are noted; their import names are the same.
        options: keyword arguments of the class beside the task.
    """

    path: str
    packages: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def install(self) -> str:
        """The command that installs the packages."""
        return f"pip install {' '.join(self.packages)}"

    @property
    def is_installed(self) -> bool:
        """Whether all the packages can be imported; none is imported to find out."""
        return all(importlib.util.find_spec(package) for package in self.packages)

    def build(self, task: Task) -> Framework:
        """Import the adapter and build its network."""
        module, _, attribute = self.path.partition(":")
        return getattr(importlib.import_module(module), attribute)(task, **self.options)


_HERE = "research.frameworks"
_OWN = ("jax", "jaxlib", "optax")

FRAMEWORKS: dict[str, Entry] = {
    "numpy": Entry(f"{_HERE}.numpy_adapter:NumPy", ("numpy",)),
    "jax_lax": Entry(f"{_HERE}.jax_own:Jax", _OWN, {"algorithm": "lax"}),
    "jax_im2col": Entry(f"{_HERE}.jax_own:Jax", _OWN, {"algorithm": "im2col"}),
    "flax_linen": Entry(f"{_HERE}.flax_linen:FlaxLinen", ("flax", *_OWN)),
    "flax_nnx": Entry(f"{_HERE}.flax_nnx:FlaxNNX", ("flax", *_OWN)),
    "torch": Entry(f"{_HERE}.torch_eager:Torch", ("torch",)),
    "torch_channels_last": Entry(f"{_HERE}.torch_eager:Torch", ("torch",), {"channels_last": True}),
    "keras_jax": Entry(f"{_HERE}.keras_any:Keras", ("keras", "jax", "jaxlib"), {"backend": "jax"}),
    "keras_torch": Entry(f"{_HERE}.keras_any:Keras", ("keras", "torch"), {"backend": "torch"}),
}
"""Adapters by name; a module is imported only when its framework is loaded."""


def load_framework(name: str, task: Task) -> Framework:
    """Import the adapter of a framework and build its network.

    Raises:
        ValueError: the name is unknown.
        ModuleNotFoundError: the framework is not installed; the message says how to install it.
    """
    entry = lookup(FRAMEWORKS, name, "framework")
    if not entry.is_installed:
        raise ModuleNotFoundError(f"{name} is not installed; install it with: {entry.install}")
    return entry.build(task)


def nest(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """From ``{"conv1/kernel": a}`` to ``{"conv1": {"kernel": a}}``."""
    tree: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        layer, parameter = name.split("/")
        tree.setdefault(layer, {})[parameter] = array
    return tree


def flatten(tree: Mapping[str, Mapping[str, Any]]) -> Arrays:
    """The inverse of ``nest``, with every array a NumPy array."""
    return {
        f"{layer}/{name}": np.asarray(array) for layer, own in tree.items() for name, array in own.items()
    }


def require_reference(task: Task) -> None:
    """Raise ValueError if the task asks for another network than the one that all frameworks have."""
    if task.model != "reference" or task.model_arguments:
        raise ValueError(
            f"only research.models has the network {task.model!r} with {dict(task.model_arguments)}"
        )
