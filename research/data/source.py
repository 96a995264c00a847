"""Reading of a prepared folder of TFDS into arrays, without TensorFlow."""

import hashlib
import io
import json
import shlex
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from research.data.dataset import DATASETS, DataError, DatasetSpec, Split
from research.utils.errors import first_line
from research.utils.progress_bar import track

RECORDS_AT_ONCE = 1000
"""The number of records that are read at once."""

SPLIT_NAMES = ("train", "test", "validation")
"""The splits of a source."""

MODES = {1: "L", 3: "RGB"}
"""The mode of an image in Pillow, by its number of channels."""

INFO = "dataset_info.json"
"""The name of the file that describes a prepared dataset."""

FEATURES = "tensorflow_datasets.core.features."
"""The start of the names of the classes that a description of features may name."""


class Source(NamedTuple):
    """The splits of a dataset as they were published, and the names of its classes.

    Args:
        train: the training examples.
        test: the test examples; `None` if the source has no such split.
        class_names: the name of each label.
        validation: the validation examples; `None` if the source has no such split.
        damaged: the split, the position among the files of the split, and the reason, for each file that
            could not be decoded.
        left_out: the reason why a file was left out, by the name of the file.
        groups: the group of each training example, `[N]`, if the examples of a group must stay in one split.
        times: the time of each training example, `[N]`, float64, if the test split has the latest examples.
    """

    train: Split
    test: Split | None
    class_names: tuple[str, ...]
    validation: Split | None = None
    damaged: tuple[tuple[str, int, str], ...] = ()
    left_out: Mapping[str, str] = MappingProxyType({})
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    @property
    def splits(self) -> dict[str, Split]:
        """Return the splits that the source has, by name."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in named.items() if split is not None}


def empty_split(spec: DatasetSpec) -> Split:
    """Return a split without examples, such as the training split of a source that has test images only."""
    return Split(np.empty((0, *spec.image_shape), np.uint8), np.empty(0, np.int32))


def folder_of(name: str, spec: DatasetSpec, data_dir: Path) -> Path:
    """Return the folder in which TFDS keeps a dataset, `data_dir/name/version`."""
    return data_dir / name / str(spec.version)


def find_folder(name: str, spec: DatasetSpec, data_dir: Path) -> Path:
    """Return the folder of a dataset, after checking that it exists.

    Raises:
        DataError: the folder does not exist. The message says how to prepare the dataset.
    """
    folder = folder_of(name, spec, data_dir)
    if configs := sorted(path.parent.parent.name for path in folder.parent.glob(f"*/*/{INFO}")):
        raise DataError(
            f"{name} has a folder for each of {', '.join(configs[:3])}, ...; give one of them as --data "
            f"{name}/{configs[0]} to evaluate"
        )
    if not (folder / INFO).is_file():
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
    """The encoded examples of a split.

    Args:
        parse: a function of the bytes of a record that returns its features by name. Images stay encoded.
        shards: the path and the number of examples of each file.
    """

    parse: Callable[[bytes], Any]
    shards: tuple[tuple[Path, int], ...]


class Described(NamedTuple):
    """What the files of a prepared folder say about it, without its examples.

    Args:
        image: the name of the feature that is an image.
        label: the name of the feature that is a class.
        image_shape: the shape `(H, W, C)` of every image; a size is `None` if it differs between images.
        class_names: the name of each label.
        num_examples: the number of examples by split.
    """

    image: str
    label: str
    image_shape: tuple[int | None, int | None, int]
    class_names: tuple[str, ...]
    num_examples: dict[str, int]


def describe_folder(folder: Path) -> Described:
    """Return what a prepared folder holds. Neither TFDS nor TensorFlow is imported.

    Raises:
        DataError: the description is damaged, or the dataset has no image, no class or no training split.
    """
    try:
        # The names of Python classes are checked here, because TFDS imports any module that they name.
        content = (folder / "features.json").read_text(encoding="utf-8")
        features = json.loads(content, object_hook=_check_feature)["featuresDict"]["features"]
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        kinds = {key: value["pythonClassName"].rpartition(".")[2] for key, value in features.items()}
        image, label = (_the_feature(kinds, kind) for kind in ("Image", "ClassLabel"))
        sizes = [int(size) for size in features[image]["image"]["shape"]["dimensions"]]
        height, width, channels = (None if size < 0 else size for size in sizes)
        if channels not in MODES:
            raise DataError(f"its images have {channels} channels, and 1 or 3 are needed")
        names = folder / f"{label}.labels.txt"
        class_names = tuple(map(str, range(int(features[label]["classLabel"]["numClasses"]))))
        if names.is_file():
            class_names = tuple(names.read_text(encoding="utf-8").splitlines())
        if info["fileFormat"] != "array_record":
            raise DataError(f"its {info['fileFormat']} files need TensorFlow")
        counts = {each["name"]: sum(map(int, each["shardLengths"])) for each in info["splits"]}
        num_examples = {split: count for split, count in counts.items() if count}
        if not {"train", "test"} & num_examples.keys():
            raise DataError(f"it has no examples in a split train or test, but {counts}")
    except Exception as error:  # a damaged file raises one of many types
        raise DataError(f"{folder} cannot be read ({first_line(error)}); {_again(folder)}") from error
    return Described(image, label, (height, width, channels), class_names, num_examples)


def _the_feature(kinds: dict[str, str], kind: str) -> str:
    """Return the name of the only feature of a kind, or else the feature `image` or `label`."""
    names = [name for name, found in kinds.items() if found == kind]
    usual = {"Image": "image", "ClassLabel": "label"}[kind]
    if len(names) != 1 and usual not in names:
        raise DataError(f"its features are {kinds}, an Image image and a ClassLabel label are needed")
    return names[0] if len(names) == 1 else usual


def open_folder(folder: Path) -> tuple[dict[str, Records], Described]:
    """Return the splits of a prepared folder, whose files all exist, and what the folder holds.

    Raises:
        DataError: a file is missing, the description of the dataset is damaged, or TensorFlow would be needed
            to read it.
    """
    import tensorflow_datasets as tfds  # This import takes a second, and a cached dataset does not need it.

    described = describe_folder(folder)
    try:
        builder: Any = tfds.builder_from_directory(folder)
        # the other features are not parsed
        used = {name: builder.info.features[name] for name in (described.image, described.label)}
        parse = partial(
            tfds.features.FeaturesDict(used).deserialize_example_np,
            decoders={described.image: tfds.decode.SkipDecoding()},
        )
        splits = {}
        for split in SPLIT_NAMES:
            if split in described.num_examples:
                info = builder.info.splits[split]
                shards = zip(map(Path, info.filepaths), info.shard_lengths, strict=True)
                splits[split] = Records(parse, tuple(shards))
    except Exception as error:  # TFDS raises many types
        raise DataError(f"{folder} cannot be read ({first_line(error)}); {_again(folder)}") from error
    for path in (path for records in splits.values() for path, _ in records.shards):
        if not path.is_file():
            raise DataError(f"{path} is missing; {_again(folder)}")
    return splits, described


Decode = Callable[[bytes], np.ndarray]
"""A function of the bytes of an image file that returns its pixels `[H, W, C]`, or raises a `DataError`."""


def read_folder(name: str, spec: DatasetSpec, folder: Path, decode: Decode | None = None) -> Source:
    """Read and decode the splits of a dataset.

    Args:
        name: the name of the dataset.
        spec: the shapes of the dataset.
        folder: the folder of the dataset.
        decode: the function that decodes an image. If not given, every image must be a PNG or JPEG file of
            the shape of `spec`.

    Raises:
        DataError: a file is missing or damaged, an image has another size or mode, or a label is out of
            range. The message names the file, and the record if one is wrong.
    """
    splits, described = open_folder(folder)
    class_names = spec.class_names or described.class_names
    if len(class_names) != spec.num_classes:
        raise DataError(f"{folder} has {len(class_names)} class names, {name} has {spec.num_classes} classes")
    decode = decode or partial(decode_exactly, shape=spec.image_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        read = {
            split: _read_split(name, spec, splits[split], described, decode)
            for split in SPLIT_NAMES
            if split in splits
        }
    train = read.get("train", empty_split(spec))
    return Source(train, read.get("test"), class_names, read.get("validation"))


def _how_to_prepare(folder: Path) -> str:
    """Return the command that prepares the dataset of a folder."""
    data_dir, name = folder.parent.parent, folder.parent.name
    return f"cnn-research prepare-data data={name} {shlex.quote(f'data.dir={data_dir}')}"


def _again(folder: Path) -> str:
    """Return what to do about a damaged folder."""
    if folder.parent.name in DATASETS:
        return f"move {folder} away and run: {_how_to_prepare(folder)}"
    return "prepare it again with tensorflow-datasets"


def _check_feature(content: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the description of features, after checking that it names a class of TFDS."""
    feature = str(content.get("pythonClassName", FEATURES))
    if not feature.startswith(FEATURES):
        raise DataError(f"features.json names {feature}, which is not a feature of TFDS")
    return content


def _read_split(
    name: str, spec: DatasetSpec, records: Records, described: Described, decode: Decode
) -> Split:
    """Return the decoded images and the labels of one split."""
    from array_record.python.array_record_module import ArrayRecordReader

    images, labels = [], []
    for path, length in records.shards:
        try:
            reader = ArrayRecordReader(str(path))
            held = reader.num_records()
        except Exception as error:  # array_record raises RuntimeError for every problem
            raise DataError(f"{path} is damaged: {first_line(error)}") from error
        if held != length:
            raise DataError(f"{path} holds {held} records, dataset_info.json says {length}")
        for offset in track(range(0, length, RECORDS_AT_ONCE), f"decoding {name}", "batches"):
            indices = range(offset, min(offset + RECORDS_AT_ONCE, length))
            try:
                examples = [records.parse(record) for record in reader.read(list(indices))]
            except Exception as error:
                raise DataError(f"{path} is damaged: {first_line(error)}") from error
            for index, example in zip(indices, examples, strict=True):
                try:
                    images.append(decode(example[described.image]))
                    labels.append(check_label(example[described.label], spec.num_classes))
                except DataError as error:
                    raise DataError(f"record {index} of {path} is not of {name}: {error}") from error
    return Split(np.stack(images), np.array(labels, np.int32))


def decode_exactly(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the image `[H, W, C]` of the bytes of a PNG or JPEG file.

    Raises:
        DataError: it is no such file, or its image has another shape.
    """
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


def check_label(label: Any, num_classes: int) -> int:
    """Return the label as an int.

    Raises:
        DataError: it is not in [0, num_classes).
    """
    if not 0 <= int(label) < num_classes:
        raise DataError(f"its label is {int(label)}, not in 0..{num_classes - 1}")
    return int(label)
