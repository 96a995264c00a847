"""Reads a prepared TFDS folder into arrays, without TensorFlow."""

import hashlib
import io
import shlex
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from research.data.dataset import DataError, DatasetSpec, Split

RECORDS_AT_ONCE = 1000

MODES = {1: "L", 3: "RGB"}


class Source(NamedTuple):
    """All that is read of a dataset, before it is split further."""

    train: Split
    test: Split
    class_names: tuple[str, ...]


def how_to_prepare(name: str, data_dir: Path) -> str:
    """The command that makes the folder of a dataset."""
    return f"python scripts/prepare_data.py data={name} {shlex.quote(f'data.dir={data_dir}')}"


def find_folder(name: str, spec: DatasetSpec, data_dir: Path) -> Path:
    """The folder ``data_dir/name/version``.

    Raises:
        DataError: it is not there; the message says how to get it.
    """
    folder = data_dir / name / str(spec.version)
    if not (folder / "dataset_info.json").is_file():
        raise DataError(f"{name} is not in {data_dir}; run: {how_to_prepare(name, data_dir)}")
    return folder


def fingerprint(folder: Path) -> str:
    """16 hex digits that change when a file of the folder is changed, without reading the files."""
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    listing = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:16]


def read_folder(name: str, spec: DatasetSpec, folder: Path) -> Source:
    """Read and decode the splits ``train`` and ``test``.

    Raises:
        DataError: a file is missing or damaged, an image has another size or mode, or a label is out of
            range; the message names the file, and the record where there is one.
    """
    import tensorflow_datasets as tfds  # takes a second, and a cached dataset does not need it

    try:
        builder: Any = tfds.builder_from_directory(folder)
        decoders = {"image": tfds.decode.SkipDecoding()}
        records = {split: builder.as_data_source(split, decoders=decoders) for split in ("train", "test")}
        names = spec.class_names or tuple(builder.info.features["label"].names)
    except Exception as error:  # TFDS raises many types
        raise DataError(f"{folder} cannot be read: {first_line(error)}") from error
    if len(names) != spec.num_classes:
        raise DataError(f"{folder} has {len(names)} class names, {name} has {spec.num_classes} classes")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        splits = {
            split: _read_split(name, spec, builder.info.splits[split], records[split]) for split in records
        }
    return Source(**splits, class_names=names)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read_split(name: str, spec: DatasetSpec, info: Any, records: Any) -> Split:
    images, labels = [], []
    start = 0
    for path, length in zip(info.filepaths, info.shard_lengths, strict=True):
        for offset in range(0, length, RECORDS_AT_ONCE):
            indices = range(offset, min(offset + RECORDS_AT_ONCE, length))
            try:
                batch = records.__getitems__([start + index for index in indices])
            except Exception as error:  # array_record raises RuntimeError for all that can be wrong
                missing = "" if Path(path).exists() else "is missing: "
                raise DataError(f"{path} {missing or 'is damaged: '}{first_line(error)}") from error
            for index, record in zip(indices, batch, strict=True):
                try:
                    images.append(_decode(record["image"], spec.image_shape))
                    labels.append(_check_label(record["label"], spec.num_classes))
                except DataError as error:
                    raise DataError(f"record {index} of {path} is not of {name}: {error}") from error
        start += length
    if not images:
        raise DataError(f"{name} holds no examples in its split {info.name}")
    return Split(np.stack(images), np.array(labels, np.int32))


def _decode(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = shape
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        # the header is believed only this far: nothing is decoded into more memory than was expected
        if image.size == (width, height) and image.mode == MODES[channels]:
            return np.asarray(image).reshape(shape)
    except Exception as error:  # Pillow raises many types
        raise DataError(f"its image cannot be decoded ({first_line(error)})") from error
    found = f"{image.width}x{image.height} {image.mode}"
    raise DataError(f"its image is {found}, not {width}x{height} {MODES[channels]}")


def _check_label(label: Any, num_classes: int) -> int:
    if not 0 <= int(label) < num_classes:
        raise DataError(f"its label is {int(label)}, not in 0..{num_classes - 1}")
    return int(label)
