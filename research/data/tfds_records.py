"""The images of a prepared folder of TFDS as `StoredImages`, which are read from its array_record files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from research.data.cache import kept_arrays
from research.data.dataset import DataError, DatasetSpec, Split
from research.data.source import (
    RECORDS_AT_ONCE,
    SPLIT_NAMES,
    Decode,
    Source,
    check_label,
    decode_exactly,
    fingerprint,
    open_folder,
)
from research.data.stored import StoredImages
from research.utils.errors import first_line
from research.utils.progress_bar import track


def store_folder(
    name: str,
    spec: DatasetSpec,
    folder: Path,
    cache: Path,
    decode: Decode | None = None,
    num_workers: int = 0,
) -> Source:
    """Return the splits of a dataset, whose images stay on disk and are read when they are needed.

    The first call reads all labels and keeps them in the cache.

    Args:
        name: the name of the dataset.
        spec: the shapes of the dataset.
        folder: the folder of the dataset.
        cache: the folder of caches.
        decode: the function that decodes an image. If not given, every image must be a PNG or JPEG file of
            the shape of `spec`.
        num_workers: the number of processes that read the images.

    Raises:
        DataError: a file is missing or damaged, or a label is out of range. The error about a damaged image
            comes when the image is read.
    """
    splits, described = open_folder(folder)
    path = cache / "scans" / f"tfds-{fingerprint(folder)}-labels.npz"
    read_labels = partial(_read_labels, name, folder, spec.num_classes)
    labels = kept_arrays(path, lambda: {"labels": read_labels()})["labels"]
    reader = ReadRecords(name, folder, decode or partial(decode_exactly, shape=spec.image_shape))
    stored, first = {}, 0
    for split in (split for split in SPLIT_NAMES if split in splits):
        positions = np.arange(first, first := first + described.num_examples[split])
        images = StoredImages(reader, positions, spec.image_shape, num_workers)
        stored[split] = Split(images, labels[positions])
    class_names = spec.class_names or described.class_names
    return Source(stored["train"], stored.get("test"), class_names, stored.get("validation"))


@dataclass(frozen=True)
class ReadRecords:
    """The function that reads one of the images of a prepared folder.

    Args:
        name: the name of the dataset.
        folder: the folder of the dataset.
        decode: the function that decodes an image.
    """

    name: str
    folder: Path
    decode: Decode

    def __call__(self, position: int) -> np.ndarray:
        """Return the pixels `[H, W, C]` of a record. Positions count the records of all splits."""
        opened = _open(self.folder)
        [example] = opened.examples([position])
        try:
            return self.decode(example[opened.image])
        except DataError as error:
            raise DataError(f"record {position} of {self.folder} is not of {self.name}: {error}") from error

    def refuse(self, positions: list[int]) -> None:
        """Raise the error about the record at the first of some positions."""
        self(positions[0])


class Opened(NamedTuple):
    """The open files of a prepared folder.

    Args:
        records: the encoded examples of all splits, in the order of `SPLIT_NAMES`.
        parse: a function of the bytes of a record that returns its features by name.
        image: the name of the feature that is an image.
        label: the name of the feature that is a class.
        folder: the folder.
    """

    records: Any
    parse: Callable[[bytes], Any]
    image: str
    label: str
    folder: Path

    def examples(self, positions: list[int]) -> list[Any]:
        """Return the features by name of the records at some positions.

        Raises:
            DataError: a record is damaged.
        """
        try:
            return [self.parse(record) for record in self.records.__getitems__(positions)]
        except Exception as error:  # array_record and TFDS raise many types
            raise DataError(
                f"record {positions[0]} of {self.folder}, or one of the {len(positions) - 1} after it, is "
                f"damaged: {first_line(error)}"
                if len(positions) > 1
                else f"record {positions[0]} of {self.folder} is damaged: {first_line(error)}"
            ) from error


@lru_cache(maxsize=4)
def _open(folder: Path) -> Opened:
    """Return the open files of a folder; each process opens them once."""
    import grain  # It takes a second, and images in memory do not need it.

    splits, described = open_folder(folder)
    paths = [path for name in SPLIT_NAMES if name in splits for path, _ in splits[name].shards]
    try:
        records: Any = grain.sources.ArrayRecordDataSource(paths)
    except Exception as error:  # array_record raises RuntimeError for every problem
        raise DataError(f"{folder} is damaged: {first_line(error)}") from error
    expected = sum(described.num_examples[name] for name in splits)
    if len(records) != expected:
        raise DataError(f"{folder} holds {len(records)} records, dataset_info.json says {expected}")
    return Opened(records, splits["train"].parse, described.image, described.label, folder)


def _read_labels(name: str, folder: Path, num_classes: int) -> np.ndarray:
    """Return the labels `[N]` of all records, int32."""
    opened = _open(folder)
    count = len(opened.records)

    def labels() -> Iterator[int]:
        for start in track(range(0, count, RECORDS_AT_ONCE), f"reading the labels of {name}", "batches"):
            positions = list(range(start, min(start + RECORDS_AT_ONCE, count)))
            for position, example in zip(positions, opened.examples(positions), strict=True):
                try:
                    yield check_label(example[opened.label], num_classes)
                except DataError as error:
                    raise DataError(f"record {position} of {folder} is not of {name}: {error}") from error

    return np.fromiter(labels(), np.int32, count)
