"""What a loaded dataset is, and the table of the datasets there are."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """A dataset is missing, damaged or cannot be prepared; the message says which and what to do."""


class Split(NamedTuple):
    """Images ``[N, H, W, C]`` uint8 and labels ``[N]`` int32, in the order of their source."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Real images in three splits, decoded and in memory.

    Args:
        name: a key of ``DATASETS``.
        train: what parameters are fitted to.
        validation: what chooses between parameters; taken from the source's training images.
        test: what is read once, at the end.
        num_classes: labels lie in ``[0, num_classes)``.
        class_names: the name of each label.
        mean: per channel, of the training split's pixels scaled to [0, 1].
        std: likewise; 1 for a channel that never changes, so that it can be divided by.
        checksum: sha256 (hex) of the source's decoded arrays, whatever the splits.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a dataset before it is read.

    Args:
        image_shape: ``(H, W, C)``.
        num_classes: labels lie in ``[0, num_classes)``.
        epochs: recommended number of epochs.
        batch_size: recommended number of images in a training step.
        version: of the TFDS dataset that ``prepare`` writes; ``None`` for one that needs no folder.
        class_names: the name of each label, where its source does not carry them.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    epochs: int
    batch_size: int
    version: str | None = None
    class_names: tuple[str, ...] | None = None


DIGIT_NAMES = tuple("0123456789")

FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

MNIST_VERSION, CIFAR_VERSION = "3.0.1", "3.0.2"

DATASETS: dict[str, DatasetSpec] = {
    "digits": DatasetSpec((8, 8, 1), 10, epochs=20, batch_size=64, class_names=DIGIT_NAMES),
    "mnist": DatasetSpec((28, 28, 1), 10, 3, 64, MNIST_VERSION, DIGIT_NAMES),
    "fashion_mnist": DatasetSpec((28, 28, 1), 10, 3, 64, MNIST_VERSION, FASHION_NAMES),
    "cifar10": DatasetSpec((32, 32, 3), 10, 10, 128, CIFAR_VERSION),
    "cifar100": DatasetSpec((32, 32, 3), 100, 10, 128, CIFAR_VERSION),
}
