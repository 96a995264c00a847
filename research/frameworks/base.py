"""The functions that a framework needs for the comparison, and the table of frameworks."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

Arrays = dict[str, np.ndarray]
"""Parameters and batch-norm statistics by their path in the network, such as `block1/body/conv1/kernel`."""

OPTIMIZERS = ("sgd", "momentum", "adam")
"""Optimizers of every framework. Momentum is 0.9, and Adam has the decays 0.9 and 0.999."""

STUDY = "frameworks"
"""Name of the study that the measurements of the frameworks belong to."""

OURS = "jax_im2col"
"""The framework that is this codebase's own. It is the reference arm of that study."""

ADAM_EPSILON = 1e-10
"""Adam's epsilon. It is tiny because Keras adds it before the bias correction, and the others after.

With 1e-8 the losses of Keras and of the others differ by 2e-3 after 50 steps on MNIST.
"""


@dataclass(frozen=True)
class Task:
    """The network that a framework builds, and how the framework trains it.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        optimizer: a name of `OPTIMIZERS`.
        learning_rate: learning rate, which is constant.
        model: a name of `research.models.MODELS` without batch norm; NumPy has "reference" only.
        model_arguments: keyword arguments of that model.
    """

    image_shape: tuple[int, ...]
    num_classes: int
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    model: str = "reference"
    model_arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def to_tuple(value: Any) -> Any:  # JSON has lists only
            return tuple(value) if isinstance(value, list) else value

        arguments = {key: to_tuple(value) for key, value in self.model_arguments.items()}
        object.__setattr__(self, "image_shape", to_tuple(self.image_shape))
        object.__setattr__(self, "model_arguments", arguments)


@runtime_checkable
class Framework(Protocol):
    """A network in one framework, trained as the tutorials of that framework train it.

    Another framework is a subclass that takes a `Task`, and an entry of `FRAMEWORKS`.
    Images are float32 `[N, H, W, C]` in [0, 1], labels are int32 `[N]`, and the loss is the mean
    cross-entropy in nats. Parameters have the names and layouts of `research.layers`: `conv1/kernel` is
    `[kh, kw, C_in, C_out]` and `logits/kernel` is `[D_in, D_out]`, where D_in has the order of an NHWC
    image in memory.
    """

    def load(self, params: Arrays) -> None:
        """Set the parameters, and reset the optimizer's state."""
        ...

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Return the gradient of the mean loss, with the names and layouts of the parameters."""
        ...

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Update the parameters once, and return the loss before the update."""
        ...

    def compile(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> float | None:
        """Compile the program that `train` runs for such arguments, and return how many seconds it took.

        Returns `None` if the framework does not compile, as in this default. A call may change the
        parameters, so the caller loads them again.
        """
        return None

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        """Update once for each batch of `order`, int32 `[epochs, steps, B]`, and wait for the end."""
        for batch in order.reshape(-1, order.shape[-1]):
            self.step(images[batch], labels[batch])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the logits `[N, num_classes]`."""
        ...

    def parameters(self) -> Arrays:
        """Return the parameters as `load` takes them."""
        ...


@dataclass(frozen=True)
class Entry:
    """The class of a framework, and the packages that it needs.

    Args:
        path: "module:class" of a `Framework`.
        packages: distributions whose versions are recorded; their import names are the same.
        options: keyword arguments of the class in addition to the task.
        builds_layers: whether the class builds the layers of `research.models`, whose import starts JAX.
    """

    path: str
    packages: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    builds_layers: bool = True

    @property
    def install(self) -> str:
        """Return the command that installs the packages."""
        return f"pip install {' '.join(self.packages)}"

    @property
    def is_installed(self) -> bool:
        """Return whether every package can be imported, without importing any."""
        return all(importlib.util.find_spec(package) for package in self.packages)

    @property
    def versions(self) -> dict[str, str]:
        """Return the installed version of each package."""
        return {package: importlib.metadata.version(package) for package in self.packages}

    def build(self, task: Task) -> Framework:
        """Import the class and build the network of a task."""
        module, _, attribute = self.path.partition(":")
        return getattr(importlib.import_module(module), attribute)(task, **self.options)


_HERE = "research.frameworks"
_OWN = ("jax", "jaxlib", "optax")

FRAMEWORKS: dict[str, Entry] = {
    "numpy": Entry(f"{_HERE}.numpy_adapter:NumPy", ("numpy",), builds_layers=False),
    "jax_lax": Entry(f"{_HERE}.jax_own:Jax", _OWN, {"algorithm": "lax"}),
    "jax_im2col": Entry(f"{_HERE}.jax_own:Jax", _OWN, {"algorithm": "im2col"}),
    "flax_linen": Entry(f"{_HERE}.flax_linen:FlaxLinen", ("flax", *_OWN)),
    "flax_nnx": Entry(f"{_HERE}.flax_nnx:FlaxNNX", ("flax", *_OWN)),
    "torch": Entry(f"{_HERE}.torch_eager:Torch", ("torch",)),
    "torch_channels_last": Entry(f"{_HERE}.torch_eager:Torch", ("torch",), {"channels_last": True}),
    "keras_jax": Entry(f"{_HERE}.keras_any:Keras", ("keras", "jax", "jaxlib"), {"backend": "jax"}),
    "keras_torch": Entry(f"{_HERE}.keras_any:Keras", ("keras", "torch"), {"backend": "torch"}),
}
"""Frameworks by name. The module of a framework is imported only when its network is built."""
