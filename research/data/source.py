"""Reading of a prepared folder of TFDS into arrays, without TensorFlow."""

import hashlib
import io
import json
import shlex
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from research.data.dataset import DataError, DatasetSpec, Split
from research.utils.errors import first_line
from research.utils.progress_bar import track

RECORDS_AT_ONCE = 1000
"""The number of records that are read at once."""

SPLIT_NAMES = ("train", "test")
"""The splits of a source."""

MODES = {1: "L", 3: "RGB"}
"""The mode of an image in Pillow, by its number of channels."""

FEATURES = "tensorflow_datasets.core.features."
"""The start of the names of the classes that a description of features may name."""


class Source(NamedTuple):
    """The splits of a dataset as they were published, and the names of its classes."""

    train: Split
    test: Split
    class_names: tuple[str, ...]


def folder_of(name: str, spec: DatasetSpec, data_dir: Path) -> Path:
    """Return the folder in which TFDS keeps a dataset, `data_dir/name/version`."""
    return data_dir / name / str(spec.version)


def find_folder(name: str, spec: DatasetSpec, data_dir: Path) -> Path:
    """Return the folder of a dataset, after checking that it exists.

    Raises:
        DataError: the folder does not exist. The message says how to prepare the dataset.
    """
    folder = folder_of(name, spec, data_dir)
    if not (folder / "dataset_info.json").is_file():
        raise DataError(f"{name} is not in {data_dir}; run: {_how_to_prepare(folder)}")
    return folder


def fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits that change when a file in the folder changes.

    They are computed from the names, sizes and times of the files, which are not read.
    """
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    listing = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:16]


class Records(NamedTuple):
    """The encoded examples of a split, as an `ArrayRecordDataSource`, and its files.

    `shards` has a pair for each file: its path and the number of examples that it holds.
    """

    examples: Any
    shards: tuple[tuple[Path, int], ...]


def open_folder(folder: Path) -> tuple[dict[str, Records], tuple[str, ...]]:
    """Return the splits of a prepared folder, whose files all exist, and the names of its classes.

    Raises:
        DataError: a file is missing, the description of the dataset is damaged, or TensorFlow would be needed
            to read it.
    """
    import tensorflow_datasets as tfds  # This import takes a second, and a cached dataset does not need it.

    again = f"move {folder} away and run: {_how_to_prepare(folder)}"
    try:
        # The file is checked first, because TFDS imports any module that it names.
        json.loads((folder / "features.json").read_text(encoding="utf-8"), object_hook=_check_feature)
        builder: Any = tfds.builder_from_directory(folder)
        kinds = {name: type(feature).__name__ for name, feature in builder.info.features.items()}
        if kinds.get("image") != "Image" or kinds.get("label") != "ClassLabel":
            raise DataError(f"its features are {kinds}, an Image image and a ClassLabel label are needed")
        if builder.info.file_format.value != "array_record":
            raise DataError(f"its {builder.info.file_format.value} files need TensorFlow")
        splits = {}
        for split in SPLIT_NAMES:
            info = builder.info.splits[split]
            examples = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
            shards = zip(map(Path, info.filepaths), info.shard_lengths, strict=True)
            splits[split] = Records(examples, tuple(shards))
        class_names = tuple(builder.info.features["label"].names)
    except Exception as error:  # TFDS raises many types
        raise DataError(f"{folder} cannot be read ({first_line(error)}); {again}") from error
    for path in (path for records in splits.values() for path, _ in records.shards):
        if not path.is_file():
            raise DataError(f"{path} is missing; {again}")
    return splits, class_names


def read_folder(name: str, spec: DatasetSpec, folder: Path) -> Source:
    """Read and decode the splits `train` and `test` of a dataset.

    Args:
        name: the name of the dataset.
        spec: the shapes of the dataset.
        folder: the folder of the dataset.

    Raises:
        DataError: a file is missing or damaged, an image has another size or mode, or a label is out of
            range. The message names the file, and the record if one is wrong.
    """
    splits, class_names = open_folder(folder)
    class_names = spec.class_names or class_names
    if len(class_names) != spec.num_classes:
        raise DataError(f"{folder} has {len(class_names)} class names, {name} has {spec.num_classes} classes")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        train, test = (_read_split(name, spec, splits[split]) for split in SPLIT_NAMES)
    return Source(train, test, class_names)


def _how_to_prepare(folder: Path) -> str:
    """Return the command that prepares the dataset of a folder."""
    data_dir, name = folder.parent.parent, folder.parent.name
    return f"cnn-research prepare-data data={name} {shlex.quote(f'data.dir={data_dir}')}"


def _check_feature(content: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the description of features, after checking that it names a class of TFDS."""
    feature = str(content.get("pythonClassName", FEATURES))
    if not feature.startswith(FEATURES):
        raise DataError(f"features.json names {feature}, which is not a feature of TFDS")
    return content


def _read_split(name: str, spec: DatasetSpec, records: Records) -> Split:
    """Return the decoded images and the labels of one split."""
    from array_record.python.array_record_module import ArrayRecordReader

    images, labels = [], []
    start = 0
    for path, length in records.shards:
        try:
            held = ArrayRecordReader(str(path)).num_records()
        except Exception as error:  # array_record raises RuntimeError for every problem
            raise DataError(f"{path} is damaged: {first_line(error)}") from error
        if held != length:
            raise DataError(f"{path} holds {held} records, dataset_info.json says {length}")
        for offset in track(range(0, length, RECORDS_AT_ONCE), f"decoding {name}", "batches"):
            indices = range(offset, min(offset + RECORDS_AT_ONCE, length))
            try:
                examples = records.examples.__getitems__([start + index for index in indices])
            except Exception as error:
                raise DataError(f"{path} is damaged: {first_line(error)}") from error
            for index, example in zip(indices, examples, strict=True):
                try:
                    images.append(_decode(example["image"], spec.image_shape))
                    labels.append(_check_label(example["label"], spec.num_classes))
                except DataError as error:
                    raise DataError(f"record {index} of {path} is not of {name}: {error}") from error
        start += length
    return Split(np.stack(images), np.array(labels, np.int32))


def _decode(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the image `[H, W, C]` of the bytes of a PNG or JPEG file."""
    height, width, channels = shape
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        # The size in the header is compared with the expected size before decoding, so that a wrong header
        # cannot make Pillow allocate more memory than expected.
        if image.size == (width, height) and image.mode == MODES[channels]:
            # `verify` checks the checksums in a PNG, which decoding ignores. It uses the image up, so the
            # image is opened again.
            image.verify()
            return np.asarray(Image.open(io.BytesIO(content))).reshape(shape)
    except Exception as error:  # Pillow raises many types
        raise DataError(f"its image cannot be decoded ({first_line(error)})") from error
    found = f"{image.width}x{image.height} {image.mode}"
    raise DataError(f"its image is {found}, not {width}x{height} {MODES[channels]}")


def _check_label(label: Any, num_classes: int) -> int:
    """Return the label as an int, after checking that it is in [0, num_classes)."""
    if not 0 <= int(label) < num_classes:
        raise DataError(f"its label is {int(label)}, not in 0..{num_classes - 1}")
    return int(label)
