"""Preparation of a published dataset: its files are downloaded, checked, and written as a folder of TFDS."""

import hashlib
import http.client
import importlib.resources
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from research.data.cache import checksum
from research.data.dataset import DATASETS, DataError, DatasetSpec
from research.data.formats import (
    parse_cifar10,
    parse_cifar10_1,
    parse_cifar10_corrupted,
    parse_cifar100,
    parse_emnist,
    parse_idx_files,
    parse_svhn,
)
from research.data.source import Source, folder_of, open_folder, read_folder
from research.data.table import data_folder
from research.utils.errors import first_line, reason_of
from research.utils.lookup import lookup

Progress = Callable[[str, int, int], None]
"""A function of a description of the work, the amount that is done, and the amount in all."""

TIMEOUT = 30
"""The number of seconds without a byte after which a download fails."""

PARSERS: dict[str, Callable[[DatasetSpec, Path], Source]] = {
    "mnist": parse_idx_files,
    "fashion_mnist": parse_idx_files,
    "kmnist": parse_idx_files,
    "emnist_balanced": partial(parse_emnist, "balanced"),
    "emnist_letters": partial(parse_emnist, "letters"),
    "svhn_cropped": parse_svhn,
    "cifar10_1": parse_cifar10_1,
    "cifar10": parse_cifar10,
    "cifar100": parse_cifar100,
}
"""The parsers of the published files, by the name of the dataset."""

PARSERS_OF_CONFIGS: dict[str, Callable[[DatasetSpec, Path], Iterator[tuple[str, Source]]]] = {
    "cifar10_corrupted": parse_cifar10_corrupted,
}
"""The parsers of datasets that have several configurations, each of which is written into its own folder."""

LISTED_IN = {
    "emnist_balanced": "url_checksums/emnist.txt",
    "emnist_letters": "url_checksums/emnist.txt",
    "svhn_cropped": "datasets/svhn_cropped/checksums.tsv",
}
"""The file of tensorflow-datasets that lists the published files, if its name is not that of the dataset."""

NOT_NEEDED = ("extra_32x32.mat", "cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy")
"""Published files that are not downloaded."""


class Download(NamedTuple):
    """The address of a published file, its size in bytes, and its sha256 in hexadecimal digits."""

    url: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the file, which is the last part of the address without a query."""
        return self.url.rsplit("/", 1)[-1].partition("?")[0]


ADDRESSES = ("http://", "https://", "file:///")
"""The beginnings of the addresses from which a file can be downloaded."""


def published(name: str) -> tuple[Download, ...]:
    """Return the published files of a dataset, as the installed tensorflow-datasets lists them.

    Example:
        >>> [file.file_name for file in published("cifar10")]
        ['cifar-10-binary.tar.gz']
    """
    table = importlib.resources.files("tensorflow_datasets") / LISTED_IN.get(
        name, f"url_checksums/{name}.txt"
    )
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    files = [Download(url, int(size), sha256) for url, size, sha256, _ in rows]
    return tuple(file for file in files if file.file_name not in NOT_NEEDED)


def prepare(
    name: str,
    *,
    data_dir: str | Path | None = None,
    mirror: str | Path | None = None,
    downloads: Sequence[Download] | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """Download a dataset and write it as a folder of TFDS, unless the folder exists.

    TensorFlow is not needed. The work is done in a temporary folder inside `data_dir`. The finished dataset
    is read back, compared with what was downloaded, and moved to its place in one step.

    Args:
        name: the name of the dataset, a key of `DATASETS` other than `digits`.
        data_dir: the folder of TFDS datasets, which is `default_data_dir()` if not given.
        mirror: an address that replaces the published addresses, or the path of a local folder. The names of
            the files are appended to it.
        downloads: the files to download, which are the published files if not given. They must have the names
            of the published files.
        progress: a function that is called with a description of the work, the amount that is done, and the
            amount in all.

    Returns:
        The folder of the dataset.

    Raises:
        DataError: the dataset cannot be downloaded, differs from what was published, or cannot be written.
        ValueError: the name is unknown.
    """
    spec = lookup(DATASETS, name, "dataset")
    if name not in PARSERS and name not in PARSERS_OF_CONFIGS:
        raise DataError(f"{name} comes with scikit-learn; there is nothing to prepare")
    data_dir = data_folder(data_dir)
    target = folder_of(name, spec, data_dir) if name in PARSERS else data_dir / name
    if target.exists():
        if name in PARSERS:
            open_folder(target)
        progress(f"{name} is already in {data_dir}", 1, 1)
        return target
    files = published(name) if downloads is None else downloads
    if mirror is not None:
        address = mirror.expanduser().absolute().as_uri() if isinstance(mirror, Path) else mirror.rstrip("/")
        files = [file._replace(url=f"{address}/{file.file_name}") for file in files]
    try:
        with _scratch_folder(data_dir, f".{name}-") as scratch:
            for file in files:
                download(file, scratch / file.file_name, progress)
            finished = _convert(name, spec, scratch, progress)
            target.parent.mkdir(exist_ok=True)
            if not target.exists():  # another process may have finished first
                os.rename(finished, target)
    except (OSError, RuntimeError) as error:  # array_record raises RuntimeError if the disk is full
        reason = reason_of(error).split(";")[0]
        raise DataError(f"{name} cannot be written in {data_dir}: {reason}") from error
    return target


def download(file: Download, path: Path, progress: Progress) -> None:
    """Download a file, and check its size and its sha256.

    Args:
        file: the published file.
        path: the path to which the file is written.
        progress: a function that is called after each part of the file.

    Raises:
        DataError: the server cannot be reached, refuses the request, or sends something else.
        OSError: the file cannot be written.
    """
    digest = hashlib.sha256()
    received = 0
    with path.open("wb") as target, _errors_as_sentences(file.url):
        if not file.url.startswith(ADDRESSES):
            raise DataError(f"{file.url} is not an http or https address, nor one of file:///")
        with urllib.request.urlopen(file.url, timeout=TIMEOUT) as response:
            while chunk := response.read(1 << 18):
                received += len(chunk)
                if received > file.size:
                    raise DataError(f"{file.url} is longer than the {file.size} bytes that were published")
                digest.update(chunk)
                target.write(chunk)
                progress(f"downloading {file.file_name}", received, file.size)
    if received < file.size:
        raise DataError(f"{file.url} was cut off after {received} of {file.size} bytes")
    if digest.hexdigest() != file.sha256:
        raise DataError(f"{file.url} has sha256 {digest.hexdigest()}, published is {file.sha256}")


@contextmanager
def _errors_as_sentences(url: str) -> Iterator[None]:
    """Turn the errors of a download into a `DataError` that names the address."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"{url} answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        reason = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise DataError(f"{url} cannot be reached: {reason or error.reason}") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException, UnicodeError) as error:
        raise DataError(f"{url} cannot be downloaded: {first_line(error)}") from error


@contextmanager
def _scratch_folder(data_dir: Path, prefix: str) -> Iterator[Path]:
    """Yield a temporary folder inside `data_dir`, and remove it and the empty folders made for it."""
    made = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=prefix) as scratch:
            yield Path(scratch)
    finally:
        for folder in made:
            with suppress(OSError):  # a folder that is not empty is kept
                folder.rmdir()


def _convert(name: str, spec: DatasetSpec, scratch: Path, progress: Progress) -> Path:
    """Write the dataset from its downloaded files, compare what is read back, and return its folder."""
    if name in PARSERS:
        return _write_checked(name, spec, PARSERS[name](spec, scratch), scratch / "tfds", progress)
    for config, source in PARSERS_OF_CONFIGS[name](spec, scratch):
        progress(f"writing {name}/{config}", 0, 1)
        folder = _write_checked(name, spec, source, scratch / "tfds", lambda what, done, total: None)
        (scratch / name / config).mkdir(parents=True)
        os.rename(folder, scratch / name / config / str(spec.version))
        progress(f"writing {name}/{config}", 1, 1)
    return scratch / name


def _write_checked(name: str, spec: DatasetSpec, source: Source, data_dir: Path, progress: Progress) -> Path:
    """Write a source as a dataset, compare what is read back, and return its folder."""
    from research.data.folder import write_folder  # This imports TFDS, which takes a second.

    for _, labels in source.splits.values():
        if len(labels) and (labels.max() >= spec.num_classes or labels.min() < 0):
            raise DataError(
                f"{name} was published with label {labels.max()}, not in 0..{spec.num_classes - 1}"
            )
    folder = write_folder(name, spec, source, data_dir, progress)
    progress(f"reading {name} back", 0, 1)
    if checksum(read_folder(name, spec, folder)) != checksum(source):
        raise DataError(f"{name} was written, but reads back differently: the disk may be full or damaged")
    progress(f"reading {name} back", 1, 1)
    return folder
