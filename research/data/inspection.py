"""A first look at images before training: classes, sizes, brightness, damaged files and duplicates."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from research.data.dataset import Split
from research.data.decode import FORMATS
from research.data.duplicates import Duplicates, find_duplicates
from research.data.image_folder import FolderImages
from research.data.image_source import ImageSource, cache_folder
from research.data.loading import count_values, statistics_of_counts
from research.data.splits import make_splits
from research.data.stored import Images, batches_in_order
from research.utils.cpus import num_cpus

BATCH = 256
"""The number of images that are read at a time."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known about images after a first look.

    Args:
        name: the name of the dataset.
        class_names: the name of each label.
        parts: the images of the splits of the source, in memory or on disk.
        labels: the labels `[N]`.
        splits: the split of each image, `[N]`.
        main_split: `train`, or `test` if there are test images only.
        names: the name of each image: its path in the folder, or its split and position.
        sizes: how often each height and width of the files occurs, the most frequent first.
        mean: the mean of each channel over the images of `main_split`, for pixels scaled to [0, 1].
        std: the standard deviation of each channel over the same pixels.
        duplicates: the images that occur twice.
        left_out: what is wrong with each file that cannot be used, by its name.
    """

    name: str
    class_names: tuple[str, ...]
    parts: tuple[Images, ...]
    labels: np.ndarray
    splits: np.ndarray
    main_split: str
    names: tuple[str, ...]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    duplicates: Duplicates
    left_out: Mapping[str, str]

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """Return the images `[len(indices), H, W, C]` at some indices."""
        starts = np.cumsum([0, *map(len, self.parts)])
        part = np.searchsorted(starts, indices, "right") - 1
        return np.stack([self.parts[p][i - starts[p]] for p, i in zip(part, indices, strict=True)])

    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of images of each class, `[num_classes]`, by split."""
        length = len(self.class_names)
        splits = ("train", "validation", "test")
        return {name: np.bincount(self.labels[self.splits == name], minlength=length) for name in splits}

    def pairs(self) -> list[tuple[int, int]]:
        """Return the pairs of equal and of nearly equal images; a group of equal ones gives one per image."""
        equal = [(group[0], other) for group in self.duplicates.equal for other in group[1:]]
        return equal + self.duplicates.near

    def leaks(self) -> list[tuple[int, int]]:
        """Return the pairs of (nearly) equal images of which one, and not the other, is in the test split."""
        return [pair for pair in self.pairs() if np.count_nonzero(self.splits[list(pair)] == "test") == 1]

    def contradictions(self) -> list[tuple[int, int]]:
        """Return the pairs of (nearly) equal images whose classes differ."""
        return [(i, j) for i, j in self.pairs() if self.labels[i] != self.labels[j]]


def inspect_images(
    images: ImageSource, cache_dir: str | Path | None = None, in_memory: bool | None = None
) -> Inspection:
    """Return what a first look at images tells.

    The splits are those of a run with the default settings. If there are no training images, they are those
    of the source.

    Args:
        images: the images. Give `skip_damaged=True` to a `FolderImages`, so that damaged files are listed.
        cache_dir: the folder in which decoded images are cached. If not given, it is in the cache folder of
            the user.
        in_memory: as for `load_dataset`. Images that are not held in memory are read in batches.

    Raises:
        DataError: the images are missing, or a file is damaged.
        ValueError: there are too few images to split.

    Example:
        >>> from research.data import TableImages
        >>> digits = inspect_images(TableImages("digits"))
        >>> int(digits.counts()["test"].sum()), digits.duplicates.equal
        (359, [])
    """
    source, _ = images.read(cache_folder(cache_dir), in_memory)
    lengths = [len(split.labels) for split in source.splits.values()]
    splits = np.repeat(np.array([*source.splits], object), lengths)
    if len(source.train.labels):
        # the splits are made of the indices of the images, which then tell the split of each image
        starts = np.cumsum([0, *lengths])
        numbered = {
            name: Split(np.arange(start, start + len(split.labels)), split.labels)
            for (name, split), start in zip(source.splits.items(), starts, strict=False)
        }
        made = make_splits(images, source._replace(**numbered), 0.1, 0.2, 0)
        for name in ("train", "validation", "test"):
            splits[getattr(made, name).images] = name
    parts = tuple(split.images for split in source.splits.values())
    if isinstance(images, FolderImages):
        names_by_split = images.names(source)
        names = tuple(name for split in source.splits for name in names_by_split[split])
        root = images.locate()
        folder = root if root.is_dir() else root.parent
        sizes = _sizes_of_files([os.path.join(folder, name) for name in names])
    else:
        positions = {name: range(len(split.labels)) for name, split in source.splits.items()}
        names = tuple(f"{name}[{index}]" for name, indices in positions.items() for index in indices)
        sizes = Counter({parts[0].shape[1:3]: len(splits)})
    main_split = "train" if len(source.train.labels) else "test"
    counts, done = np.zeros((parts[0].shape[-1], 256), np.int64), 0

    def batches() -> Iterator[np.ndarray]:
        nonlocal counts, done
        for part in parts:
            for batch in batches_in_order(part, BATCH):
                counts += count_values(batch[splits[done : done + len(batch)] == main_split])
                done += len(batch)
                yield batch

    duplicates = find_duplicates(batches())
    mean, std = statistics_of_counts(counts)
    return Inspection(
        name=images.name,
        class_names=source.class_names,
        parts=parts,
        labels=np.concatenate([split.labels for split in source.splits.values()]),
        splits=splits.astype(str),
        main_split=main_split,
        names=names,
        sizes=tuple(sizes.most_common()),
        mean=mean,
        std=std,
        duplicates=duplicates,
        left_out=source.left_out,
    )


def _sizes_of_files(paths: list[str]) -> Counter[tuple[int, int]]:
    """Return how often each height and width occurs; the images are not decoded."""

    def size(path: str) -> tuple[int, int]:
        with Image.open(path, formats=FORMATS) as image:
            return image.height, image.width

    with ThreadPoolExecutor(num_cpus()) as pool:
        return Counter(pool.map(size, paths))
