"""Loading of a dataset into three splits."""

from pathlib import Path

import numpy as np

from research.data.cache import checksum
from research.data.dataset import Dataset, Split
from research.data.image_source import ImageSource, cache_folder
from research.data.scan import Scan, scan
from research.data.splits import make_splits, stratified_order, take
from research.data.stored import StoredImages
from research.data.table import TableImages
from research.data.training_split import long_tailed, with_label_noise


def load_dataset(
    images: str | ImageSource,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    train_limit: int | None = None,
    imbalance: float = 1.0,
    label_noise: float = 0.0,
    folds: int | None = None,
    fold: int = 0,
    in_memory: bool | None = None,
    num_workers: int = 0,
) -> Dataset:
    """Return a dataset in three splits, with the mean and the standard deviation of its pixels.

    The splits are stratified. They depend on `split_seed`, but not on the seed of a run.

    Args:
        images: the name of a dataset, a key of `DATASETS`; or another source, such as `FolderImages`.
        data_dir: the folder of TFDS datasets for a name, which is `default_data_dir()` if not given.
        cache_dir: the folder in which decoded images are cached. If not given, it is in the cache folder of
            the user.
        validation_fraction: the fraction of the training images that are used for validation, in [0, 1). For
            a source that is not in the table and has no test split, it is the fraction of all images. It is
            not used if the source has a validation split.
        test_fraction: the fraction of all images that are used for testing, in (0, 1). It is used only if the
            source has no test split.
        split_seed: the seed of the splits, at least 0.
        train_limit: the number of training images to keep, as a stratified subset. If not given, all are
            kept.
        imbalance: the number of training images of the last class, as a share of those of the first, in
            (0, 1]; see `long_tailed`. 1 keeps all images. `train_limit` is applied afterwards.
        label_noise: the share of training images that get the label of another class, in [0, 1).
        folds: the number of folds of a cross-validation, at least 2. If given, the test split is one fold of
            the training images of the source, and the validation images are a fraction of the other folds.
            The test split of the source is not used.
        fold: the number of the fold that is the test split, in [0, folds).
        in_memory: whether the images are held in memory. If false, the splits hold `StoredImages`, and the
            first call decodes all images once, for the checksum and the statistics. If `None`, the images
            are held in memory if they and one copy of them fit into the free memory.
        num_workers: the number of processes that read `StoredImages` before they are needed. If it is 0,
            threads read them.

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
    if folds is not None and folds < 2:
        raise ValueError(f"folds={folds}; allowed: 2 and above")
    if not 0 <= fold < (folds or 1):
        allowed = "0" if folds is None else f"0 to {folds - 1}"
        raise ValueError(f"fold={fold}; allowed: {allowed} with folds={folds}")
    if not 0 < imbalance <= 1:
        raise ValueError(f"imbalance={imbalance}; allowed: above 0 and at most 1")
    if not 0 <= label_noise < 1:
        raise ValueError(f"label_noise={label_noise}; allowed: at least 0 and below 1")
    cache = cache_folder(cache_dir)
    source, digest = images.read(cache, in_memory, num_workers)
    split = make_splits(
        images, source, validation_fraction, test_fraction, split_seed, folds=folds, fold=fold
    )
    train, validation, test = split.train, split.validation, split.test
    whole, scanned = source, None  # all folds are parts of the same images
    if folds is None:
        whole = source._replace(train=split.before_validation, test=test)
    if isinstance(train.images, StoredImages):
        scanned = scan(name, whole.splits, str(digest), cache)
        digest = scanned.checksum
    elif digest is None or (source.test is None and folds is None):
        digest = checksum(whole)
    num_classes = len(source.class_names)
    if imbalance < 1:
        train = long_tailed(train, imbalance, num_classes, split_seed)
    if train_limit is not None:
        if not 1 <= train_limit <= len(train.labels):
            raise ValueError(f"train_limit={train_limit}; allowed: 1 to {len(train.labels)} for {name}")
        train = take(train, stratified_order(train.labels, split_seed)[:train_limit])
    if label_noise:
        train = with_label_noise(train, label_noise, num_classes, split_seed)
    if scanned is None:
        mean, std = pixel_statistics(np.asarray(train.images))
    else:
        mean, std = _statistics_of_some(scanned, whole.train, train)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        num_classes=num_classes,
        class_names=source.class_names,
        mean=mean,
        std=std,
        checksum=digest,
        num_left_out=len(source.left_out),
        resizing=getattr(images, "resizing", "crop"),
    )


def pixel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, for pixels scaled to [0, 1].

    Both are computed from exact sums of integers.

    Args:
        images: the images `[N, H, W, C]`, uint8.

    Returns:
        The means and the standard deviations, `C` numbers each. The deviation of a constant channel is 1.
    """
    return statistics_of_counts(count_values(images))


def statistics_of_counts(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the result of `pixel_statistics` for images with these counts of `count_values`, `[C, 256]`."""
    values = np.arange(256)
    constant = (counts > 0).sum(axis=1) == 1
    return _statistics(counts.sum(axis=1), counts @ values, counts @ values**2, constant)


def count_values(images: np.ndarray) -> np.ndarray:
    """Return how often each of the 256 pixel values occurs in each channel of images, int64 `[C, 256]`."""
    return np.array([_count_values(images[..., channel]) for channel in range(images.shape[-1])])


def _statistics_of_some(
    scanned: Scan, whole: Split, part: Split
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the `pixel_statistics` of some training images, from the moments of all training images."""
    assert isinstance(whole.images, StoredImages)
    assert isinstance(part.images, StoredImages)
    sums, squares, least, largest = np.moveaxis(
        scanned.moments[np.searchsorted(whole.images.positions, part.images.positions)], -1, 0
    )
    height, width, _ = part.images.image_shape
    constant = least.min(0) == largest.max(0)
    return _statistics(np.int64(len(sums) * height * width), sums.sum(0), squares.sum(0), constant)


def _statistics(
    total: np.ndarray | np.int64, sums: np.ndarray, squares: np.ndarray, constant: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the deviation of each channel, from the sums of pixels and of squared pixels."""
    mean = sums / total
    variance = squares / total - mean**2
    std = np.where(constant, 255, np.sqrt(np.maximum(variance, 0)))
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _count_values(channel: np.ndarray) -> np.ndarray:
    """Return how often each of the 256 pixel values occurs in a channel."""
    # The images are counted in parts, because bincount converts every pixel to 8 bytes.
    parts = np.array_split(channel, max(1, -(-len(channel) // 4096)))
    return sum((np.bincount(part.ravel(), minlength=256) for part in parts), np.zeros(256, np.int64))
