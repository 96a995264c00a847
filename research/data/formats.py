"""Parsers of the published files of datasets: IDX for MNIST, and the binary version of CIFAR."""

import gzip
import math
import tarfile
import zlib
from pathlib import Path

import numpy as np

from research.data.dataset import DataError, DatasetSpec, Split
from research.data.source import Source
from research.utils.errors import first_line

DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError)


def parse_idx_files(spec: DatasetSpec, folder: Path) -> Source:
    """Return the images and labels in the four gzipped files of MNIST or Fashion-MNIST.

    Args:
        spec: the shapes of the dataset.
        folder: the folder that holds the files.

    Raises:
        DataError: a file is damaged, or its shape is wrong. The message names the file.
    """
    splits = []
    for split in ("train", "t10k"):
        images_path = folder / f"{split}-images-idx3-ubyte.gz"
        labels_path = folder / f"{split}-labels-idx1-ubyte.gz"
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.shape[1:] != spec.image_shape[:2] or labels.shape != images.shape[:1]:
            found = f"{images_path.name} has shape {images.shape}, {labels_path.name} {labels.shape}"
            size = "x".join(map(str, spec.image_shape[:2]))
            raise DataError(f"{found}; images must be {size}, with a label each")
        splits.append(Split(images.reshape(-1, *spec.image_shape), labels.astype(np.int32)))
    return Source(*splits, class_names=spec.class_names or ())


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array that a gzipped IDX file holds.

    The file begins with two zero bytes, the byte 8 for the type uint8, and one byte with the number of axes.
    Then come the length of each axis in 4 bytes (big-endian) and the values.

    Raises:
        DataError: the file is damaged, or it is not an IDX file of bytes.

    Source: LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits, file formats.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except DAMAGED as error:
        raise DataError(f"{path.name} is not a whole gzip file: {first_line(error)}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path.name} is no IDX file of bytes: it begins with {content[:4].hex()}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{path.name} is cut off after {len(content)} of the {start} bytes of its header")
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != math.prod(shape):
        raise DataError(f"{path.name} holds {len(content) - start} values, its header says {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def parse_cifar10(spec: DatasetSpec, folder: Path) -> Source:
    """Return the images and labels in the binary version of CIFAR-10.

    Each record holds a label and 3072 pixel values, with the channels first.

    Args:
        spec: the shapes of the dataset.
        folder: the folder that holds the archive.

    Raises:
        DataError: the archive is damaged or does not hold what it should. The message names it.
    """
    train = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    path = folder / "cifar-10-binary.tar.gz"
    return _parse_cifar(spec, path, "cifar-10-batches-bin", train, "test_batch.bin", "batches.meta.txt")


def parse_cifar100(spec: DatasetSpec, folder: Path) -> Source:
    """Return the images and fine labels in the binary version of CIFAR-100.

    Each record holds a coarse label, a fine label and 3072 pixel values, with the channels first.

    Args:
        spec: the shapes of the dataset.
        folder: the folder that holds the archive.

    Raises:
        DataError: the archive is damaged or does not hold what it should. The message names it.
    """
    path = folder / "cifar-100-binary.tar.gz"
    return _parse_cifar(spec, path, "cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt")


def _parse_cifar(
    spec: DatasetSpec, path: Path, prefix: str, train: tuple[str, ...], test: str, names: str
) -> Source:
    """Return the source in an archive, given the names of its files below the folder `prefix`."""
    wanted = {f"{prefix}/{name}" for name in (*train, test, names)}
    content = {}
    try:
        # The members are read by name and in one pass, and nothing is extracted to disk.
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in wanted and member.isfile() else None
                if file is not None:
                    content[member.name.removeprefix(f"{prefix}/")] = file.read()
    except DAMAGED as error:
        raise DataError(f"{path.name} is not a whole tar.gz file: {first_line(error)}") from error
    if missing := sorted(wanted - {f"{prefix}/{name}" for name in content}):
        raise DataError(f"{path.name} does not hold {missing[0]}")
    splits = []
    for files in (train, (test,)):
        parts = [_read_cifar_records(f"{path.name}: {name}", content[name], spec) for name in files]
        splits.append(Split(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))))
    class_names = tuple(content[names].decode("utf-8", errors="replace").split())
    if len(class_names) != spec.num_classes:
        raise DataError(f"{path.name}: {names} holds {len(class_names)} names, not {spec.num_classes}")
    return Source(*splits, class_names=class_names)


def _read_cifar_records(what: str, content: bytes, spec: DatasetSpec) -> Split:
    """Return the split in the records of one file, which errors name by `what`."""
    height, width, channels = spec.image_shape
    num_pixels = height * width * channels
    num_labels = 2 if spec.num_classes == 100 else 1
    if not content or len(content) % (num_labels + num_pixels):
        raise DataError(f"{what} holds {len(content)} bytes, not a multiple of {num_labels + num_pixels}")
    records = np.frombuffer(content, np.uint8).reshape(-1, num_labels + num_pixels)
    images = records[:, num_labels:].reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), records[:, num_labels - 1].astype(np.int32))
