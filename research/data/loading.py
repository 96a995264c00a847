"""Loading of a dataset into three splits in memory."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from research.data.cache import checksum
from research.data.classes import ChosenClasses
from research.data.dataset import Dataset, Split
from research.data.image_source import ImageSource, cache_folder
from research.data.source import Source
from research.data.splits import stratified_order
from research.data.table import TableImages


def load_dataset(
    images: str | ImageSource,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    train_limit: int | None = None,
) -> Dataset:
    """Load a dataset, split off its validation images, and compute the mean and deviation of its pixels.

    The splits are stratified. They depend on `split_seed`, but not on the seed of a run.

    Args:
        images: the name of a dataset, a key of `DATASETS`; or another source, such as `FolderImages`.
        data_dir: the folder of TFDS datasets for a name, which is `default_data_dir()` if not given.
        cache_dir: the folder in which decoded images are cached. If not given, it is in the cache folder of
            the user.
        validation_fraction: the fraction of the training images that are used for validation, in [0, 1). It
            is that of all images if a source other than the table has no test split. It is not used if the
            source has a validation split.
        test_fraction: the fraction of all images that are used for testing, in (0, 1). It is used only if the
            source has no test split.
        split_seed: the seed of the splits, at least 0.
        train_limit: the number of training images to keep, as a stratified subset. If not given, all are
            kept.

    Returns:
        The dataset. Its `mean` and `std` are those of the training images that are kept.

    Raises:
        DataError: the dataset is missing or damaged.
        ValueError: the name is unknown, or a number is out of range.

    Example:
        >>> digits = load_dataset("digits")
        >>> digits.train.images.shape, len(digits.validation.labels), len(digits.test.labels)
        ((1294, 8, 8, 1), 144, 359)
    """
    images = TableImages(images, data_dir) if isinstance(images, str) else images
    name = images.name
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction={validation_fraction}; allowed: at least 0 and below 1")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction={test_fraction}; allowed: above 0 and below 1")
    if split_seed < 0:
        raise ValueError(f"split_seed={split_seed}; allowed: 0 and above")
    source, digest = images.read(cache_folder(cache_dir))
    split = make_splits(images, source, validation_fraction, test_fraction, split_seed)
    train, validation, test = split.train, split.validation, split.test
    if source.test is None or digest is None:
        digest = checksum(source._replace(train=split.before_validation, test=test))
    if train_limit is not None:
        if not 1 <= train_limit <= len(train.labels):
            raise ValueError(f"train_limit={train_limit}; allowed: 1 to {len(train.labels)} for {name}")
        train = take(train, stratified_order(train.labels, split_seed)[:train_limit])
    mean, std = pixel_statistics(train.images)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        num_classes=len(source.class_names),
        class_names=source.class_names,
        mean=mean,
        std=std,
        checksum=digest,
        num_left_out=len(source.left_out),
        resizing=getattr(images, "resizing", "crop"),
    )


class Splits(NamedTuple):
    """The three splits of a dataset, and the training split before the validation split was taken from it."""

    train: Split
    validation: Split
    test: Split
    before_validation: Split


def make_splits(
    images: ImageSource, source: Source, validation_fraction: float, test_fraction: float, seed: int
) -> Splits:
    """Return the splits of a source, of which it may have some already.

    Args:
        images: the images.
        source: what `images.read` returned.
        validation_fraction: as for `load_dataset`.
        test_fraction: as for `load_dataset`.
        seed: the seed of the random orders.

    Raises:
        ValueError: the fractions leave too few examples to train on.
    """
    train, test, share = source.train, source.test, validation_fraction
    if test is None:
        of_table = isinstance(images.images if isinstance(images, ChosenClasses) else images, TableImages)
        if source.validation is None and not of_table:
            share = validation_fraction / (1 - test_fraction)
        if share >= 1:
            raise ValueError(
                f"validation_fraction={validation_fraction}; allowed: below {1 - test_fraction:.12g}, "
                f"because test_fraction={test_fraction}"
            )
        test, train = split_off(train, test_fraction, seed)
    if len(train.labels) < 2:
        raise ValueError(
            f"test_fraction={test_fraction} leaves too few examples of {images.name} to train on"
        )
    if source.validation is not None:
        return Splits(train, source.validation, test, train)
    validation, rest = split_off(train, share, seed)
    return Splits(rest, validation, test, train)


def take(split: Split, indices: np.ndarray) -> Split:
    """Return the examples at `indices`, in the order in which they stand in `split`."""
    indices = np.sort(indices)
    return Split(split.images[indices], split.labels[indices])


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Split a split in two, stratified by class.

    Args:
        split: the examples.
        fraction: the fraction of examples in the first part, in [0, 1).
        seed: the seed of the random order.

    Returns:
        The first part and the rest. Each has at least one example, unless `fraction` is 0.

    Raises:
        ValueError: `split` has fewer than two examples.
    """
    count = len(split.labels)
    if count < 2:
        raise ValueError(f"{count} examples cannot be split in two")
    size = min(max(round(fraction * count), 1), count - 1) if fraction else 0
    order = stratified_order(split.labels, seed)
    return take(split, order[:size]), take(split, order[size:])


def pixel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, for pixels scaled to [0, 1].

    Both are computed from exact sums of integers.

    Args:
        images: the images `[N, H, W, C]`, uint8.

    Returns:
        The means and the standard deviations, `C` numbers each. The deviation of a constant channel is 1.
    """
    values = np.arange(256)
    channels = [images[..., channel] for channel in range(images.shape[-1])]
    counts = np.array([_count_values(channel) for channel in channels])
    total = counts.sum(axis=1)
    mean = counts @ values / total
    variance = counts @ values**2 / total - mean**2
    std = np.where((counts > 0).sum(axis=1) > 1, np.sqrt(np.maximum(variance, 0)), 255)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _count_values(channel: np.ndarray) -> np.ndarray:
    """Return how often each of the 256 pixel values occurs."""
    # The images are counted in parts, because bincount converts every pixel to 8 bytes.
    parts = np.array_split(channel, -(-len(channel) // 4096))
    return sum((np.bincount(part.ravel(), minlength=256) for part in parts), np.zeros(256, np.int64))
