"""A dataset in three splits, and the table of the known datasets."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from research.data.stored import Images, StoredImages


class DataError(ValueError):
    """A dataset is missing, damaged or cannot be prepared. The message names it and says what to do."""


class Split(NamedTuple):
    """Images `[N, H, W, C]` uint8 and their labels `[N]` int32, in the order of their source."""

    images: Images
    labels: np.ndarray


def take(split: Split, indices: np.ndarray) -> Split:
    """Return the examples at `indices`, in the order of `split`. Stored images are not read."""
    indices, images = np.sort(indices), split.images
    chosen = images.select(indices) if isinstance(images, StoredImages) else images[indices]
    return Split(chosen, split.labels[indices])


@dataclass(frozen=True)
class InputSpec:
    """What a network must know about images beside its parameters. A run keeps it with the parameters.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        class_names: the name of each label.
        mean: the mean of each channel, for pixels scaled to [0, 1].
        std: the standard deviation of each channel, for the same pixels.
        resizing: how an image of another size is brought to `image_shape`, one of `decode.RESIZINGS`.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resizing: str = "crop"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset in three splits, whose images are in memory or are read when they are needed.

    Args:
        name: the name of the dataset, such as a key of `DATASETS`.
        train: the examples to which parameters are fitted.
        validation: the examples by which parameters are chosen. They are a part of the training images of the
            source.
        test: the examples on which the chosen parameters are measured once, at the end.
        num_classes: the number of classes. Labels are in [0, num_classes).
        class_names: the name of each label.
        mean: the mean of each channel over the pixels of `train`, scaled to [0, 1].
        std: the standard deviation of each channel over the same pixels. It is 1 for a channel that is
            constant.
        checksum: the sha256 of the decoded arrays of the source, in hexadecimal digits. If the source has a
            test split, it does not depend on the other splits.
        num_left_out: the number of files of the source that could not be used.
        resizing: how the images were brought to one size, a name in `RESIZINGS`.
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
    num_left_out: int = 0
    resizing: str = "crop"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape `(H, W, C)` of one image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def inputs(self) -> InputSpec:
        """What a network that is trained on the dataset must know about images."""
        return InputSpec(self.image_shape, self.class_names, self.mean, self.std, self.resizing)


@dataclass(frozen=True)
class DatasetSpec:
    """What is known about a dataset before it is read.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of classes. Labels are in [0, num_classes).
        epochs: the recommended number of epochs.
        batch_size: the recommended number of images in a training step.
        version: the version of the TFDS dataset that `prepare` writes, or `None` for a dataset that comes
            with a package.
        class_names: the name of each label, if the source does not hold the names.
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

KMNIST_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

EMNIST_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

EMNIST_BALANCED = (*DIGIT_NAMES, *EMNIST_LETTERS, *"abdefghnqrt")
"""The classes of EMNIST balanced. Small letters that look like capital ones share their class."""

CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

MNIST_VERSION, CIFAR_VERSION = "3.0.1", "3.0.2"

DATASETS: dict[str, DatasetSpec] = {
    "digits": DatasetSpec((8, 8, 1), 10, epochs=20, batch_size=64, class_names=DIGIT_NAMES),
    "mnist": DatasetSpec((28, 28, 1), 10, 3, 64, MNIST_VERSION, DIGIT_NAMES),
    "fashion_mnist": DatasetSpec((28, 28, 1), 10, 3, 64, MNIST_VERSION, FASHION_NAMES),
    "kmnist": DatasetSpec((28, 28, 1), 10, 3, 64, MNIST_VERSION, KMNIST_NAMES),
    "emnist_balanced": DatasetSpec((28, 28, 1), 47, 3, 64, "3.1.0", EMNIST_BALANCED),
    "emnist_letters": DatasetSpec((28, 28, 1), 26, 3, 64, "3.1.0", EMNIST_LETTERS),
    "svhn_cropped": DatasetSpec((32, 32, 3), 10, 5, 128, "3.1.0", DIGIT_NAMES),
    "cifar10_1": DatasetSpec((32, 32, 3), 10, 10, 128, "1.1.0", CIFAR10_NAMES),
    "cifar10_corrupted": DatasetSpec((32, 32, 3), 10, 10, 128, "1.0.0", CIFAR10_NAMES),
    "cifar10": DatasetSpec((32, 32, 3), 10, 10, 128, CIFAR_VERSION),
    "cifar100": DatasetSpec((32, 32, 3), 100, 10, 128, CIFAR_VERSION),
}
"""The known datasets by name."""


EPOCHS, STEPS, LARGEST_BATCH = 20, 8, 64
"""The recommended number of epochs, the smallest number of steps per epoch, and the largest batch size."""


def recommend(
    image_shape: tuple[int, int, int], class_names: tuple[str, ...], counts: dict[str, int]
) -> DatasetSpec:
    """Return the description of images that are not in the table of datasets, with recommendations.

    The batch size is the largest power of two, up to 64, that gives at least 8 steps per epoch, or 1 if there
    are too few images.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        class_names: the name of each label.
        counts: the number of examples by split.

    Example:
        >>> recommend((64, 64, 3), ("cat", "dog"), {"train": 100}).batch_size
        8
    """
    share = 1.0 - 0.2 * ("test" not in counts) - 0.1 * ("validation" not in counts)
    batch_size = LARGEST_BATCH
    while batch_size > 1 and batch_size * STEPS > share * counts.get("train", 0):
        batch_size //= 2
    return DatasetSpec(image_shape, len(class_names), EPOCHS, batch_size, None, class_names)
