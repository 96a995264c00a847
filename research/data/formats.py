"""Parsers of the published files of datasets: IDX for MNIST, the binary version of CIFAR, and others."""

import gzip
import io
import math
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from research.data.dataset import DataError, DatasetSpec, Split
from research.data.source import Source, empty_split
from research.utils.errors import first_line

DAMAGED = (OSError, EOFError, ValueError, KeyError, zlib.error, tarfile.TarError, zipfile.BadZipFile)


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
        names = [f"{split}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
        images, labels = (parse_idx((folder / name).read_bytes(), name) for name in names)
        splits.append(_checked(spec, images, labels, " and ".join(names)))
    return Source(*splits, class_names=spec.class_names or ())


def _checked(spec: DatasetSpec, images: np.ndarray, labels: np.ndarray, what: str) -> Split:
    """Return images `[N, H, W, C]` (`[N, H, W]` if C is 1) and labels `[N]` as a split, after checks."""
    shape = spec.image_shape if spec.image_shape[-1] > 1 else spec.image_shape[:2]
    if images.shape[1:] != shape or labels.shape != images.shape[:1] or images.dtype != np.uint8:
        found = f"{what} hold images {images.shape} of {images.dtype} and labels {labels.shape}"
        raise DataError(f"{found}; images must be {'x'.join(map(str, shape))} of uint8, with a label each")
    return Split(np.ascontiguousarray(images).reshape(-1, *spec.image_shape), labels.astype(np.int32))


def parse_emnist(part: str, spec: DatasetSpec, folder: Path) -> Source:
    """Return the images and labels of a part of EMNIST.

    The published images are transposed, and the returned images are upright. Labels begin at 0.

    Args:
        part: the name of the part, `balanced` or `letters`.
        spec: the shapes of the dataset.
        folder: the folder that holds the archive.

    Raises:
        DataError: the archive is damaged or does not hold what it should. The message names it.

    Source: Cohen, Afshar, Tapson and van Schaik (2017), EMNIST: an extension of MNIST to handwritten letters.
    """
    splits, path = [], folder / "gzip.zip"
    for split in ("train", "test"):
        names = [f"emnist-{part}-{split}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
        try:
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(f"gzip/{name}") for name in names]
        except DAMAGED as error:
            raise DataError(f"{path.name} cannot be read: {first_line(error)}") from error
        images, labels = (parse_idx(*each) for each in zip(contents, names, strict=True))
        upright = images.transpose(0, 2, 1) if images.ndim == 3 else images
        first = 1 if part == "letters" else 0
        splits.append(_checked(spec, upright, labels.astype(np.int32) - first, " and ".join(names)))
    return Source(*splits, class_names=spec.class_names or ())


def parse_svhn(spec: DatasetSpec, folder: Path) -> Source:
    """Return the images and labels in the two MATLAB files of the cropped digits of SVHN.

    `X` holds the pixels `[H, W, C, N]`, and `y` the labels `[N, 1]`, in which the digit 0 is 10.

    Args:
        spec: the shapes of the dataset.
        folder: the folder that holds the files.

    Raises:
        DataError: a file is damaged, or its shape is wrong. The message names the file.

    Source: Netzer et al. (2011), Reading digits in natural images with unsupervised feature learning.
    """
    from scipy.io import loadmat

    splits = []
    for name in ("train_32x32.mat", "test_32x32.mat"):
        try:
            content = loadmat(folder / name, variable_names=["X", "y"])
            images, labels = np.moveaxis(content["X"], -1, 0), content["y"].ravel() % 10
        except Exception as error:  # a damaged file raises one of many types
            raise DataError(f"{name} cannot be read: {first_line(error)}") from error
        splits.append(_checked(spec, images, labels, name))
    return Source(*splits, class_names=spec.class_names or ())


def parse_cifar10_1(spec: DatasetSpec, folder: Path) -> Source:
    """Return the test images and labels in the two NumPy files of CIFAR-10.1, version 4.

    Args:
        spec: the shapes of the dataset.
        folder: the folder that holds the files.

    Raises:
        DataError: a file is damaged, or its shape is wrong. The message names the file.

    Source: Recht, Roelofs, Schmidt and Shankar (2018), Do CIFAR-10 classifiers generalize to CIFAR-10?
    """
    names = [f"cifar10.1_v4_{what}.npy" for what in ("data", "labels")]
    images, labels = (_load_npy((folder / name).read_bytes(), name) for name in names)
    test = _checked(spec, images, labels, " and ".join(names))
    return Source(empty_split(spec), test, class_names=spec.class_names or ())


def parse_cifar10_corrupted(spec: DatasetSpec, folder: Path) -> Iterator[tuple[str, Source]]:
    """Yield the test images and labels of each corruption and severity of CIFAR-10-C.

    The archive holds one array of labels, and one array of images for each corruption. An array of images has
    the images of severity 1 first, and the images of severity 5 last.

    Args:
        spec: the shapes of the dataset.
        folder: the folder that holds the archive.

    Yields:
        The name, such as `fog_3` for the severity 3 of 5, and its source, in the order of the archive.

    Raises:
        DataError: the archive is damaged or does not hold what it should. The message names it.

    Source: Hendrycks and Dietterich (2019), Benchmarking neural network robustness to common corruptions and
        perturbations.
    """
    path = folder / "CIFAR-10-C.tar"
    try:
        # The members are read one by one, and nothing is extracted to disk.
        with tarfile.open(path, "r:") as archive:
            found = {Path(member.name).stem: member for member in archive if member.name.endswith(".npy")}
            labels_member = found.pop("labels")
            labels = _load_npy(_read_member(archive, labels_member), labels_member.name)
            for corruption, member in found.items():
                images = _load_npy(_read_member(archive, member), member.name)
                if len(images) != len(labels) or len(images) % 5:
                    raise DataError(
                        f"{member.name} holds {len(images)} images, labels.npy {len(labels)} labels"
                    )
                parts = zip(np.split(images, 5), np.split(labels, 5), strict=True)
                for severity, part in enumerate(parts, start=1):
                    test = _checked(spec, *part, member.name)
                    yield f"{corruption}_{severity}", Source(empty_split(spec), test, spec.class_names or ())
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(f"{path.name} cannot be read: {first_line(error)}") from error


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _load_npy(content: bytes, name: str) -> np.ndarray:
    """Return the array in the bytes of a NumPy file."""
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{name} is no NumPy file: {first_line(error)}") from error


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array in a gzipped IDX file."""
    return parse_idx(path.read_bytes(), path.name)


def parse_idx(packed: bytes, name: str) -> np.ndarray:
    """Return the uint8 array in the bytes of a gzipped IDX file. `name` is the name of the file in errors.

    The file begins with two zero bytes, the byte 8 for the type uint8, and one byte with the number of axes.
    Then come the length of each axis in 4 bytes (big-endian) and the values.

    Raises:
        DataError: the file is damaged, or it is not an IDX file of bytes.

    Source: LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits, file formats.
    """
    try:
        content = gzip.decompress(packed)
    except DAMAGED as error:
        raise DataError(f"{name} is not a whole gzip file: {first_line(error)}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{name} is no IDX file of bytes: it begins with {content[:4].hex()}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{name} is cut off after {len(content)} of the {start} bytes of its header")
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != math.prod(shape):
        raise DataError(f"{name} holds {len(content) - start} values, its header says {shape}")
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
