"""The datasets of the table `DATASETS`: digits, which comes with a package, and prepared folders of TFDS."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.data.cache import read_cached
from research.data.dataset import DATASETS, DataError, DatasetSpec, Split
from research.data.image_folder import fits
from research.data.source import Source, describe_folder, find_folder, fingerprint, read_folder
from research.data.tfds_records import store_folder
from research.utils.lookup import lookup


def default_data_dir() -> Path:
    """Return the folder of TFDS datasets: `$TFDS_DATA_DIR`, or `~/tensorflow_datasets` if that is not set.

    This is also the default of TFDS.
    """
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def data_folder(data_dir: str | Path | None) -> Path:
    """Return the folder of TFDS datasets, which is `default_data_dir()` if `data_dir` is not given."""
    return Path(data_dir).expanduser() if data_dir else default_data_dir()


@dataclass(frozen=True)
class TableImages:
    """The images of a dataset of the table `DATASETS`.

    Args:
        name: the name of the dataset.
        data_dir: the folder of TFDS datasets, which is `default_data_dir()` if not given.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> TableImages("digits").describe().image_shape
        (8, 8, 1)
    """

    name: str
    data_dir: str | Path | None = None

    def __post_init__(self) -> None:
        self.describe()

    def describe(self) -> DatasetSpec:
        """Return the shapes of the dataset, which need not be prepared."""
        return lookup(DATASETS, self.name, "dataset")

    def locate(self) -> Path | None:
        """Return the folder from which the dataset is read, or `None` if it comes with a package.

        Raises:
            DataError: there is no such folder. The message says how to prepare the dataset.
        """
        spec = self.describe()
        return None if spec.version is None else find_folder(self.name, spec, data_folder(self.data_dir))

    def content(self, cache: Path) -> None:
        """Return `None`, because the name alone identifies the images."""

    def read(
        self, cache: Path, in_memory: bool | None = True, num_workers: int = 0
    ) -> tuple[Source, str | None]:
        """Return the images, and their checksum if they are cached.

        For images on disk, a text that depends on the files of the folder takes the place of the checksum.

        Args:
            cache: the folder of caches.
            in_memory: as for `load_dataset`. The digits are always held in memory.
            num_workers: as for `load_dataset`.

        Raises:
            DataError: the dataset is missing or damaged.
        """
        spec, folder = self.describe(), self.locate()
        if folder is None:
            return _read_digits(spec), None
        key = f"{self.name}-{spec.version}-{fingerprint(folder)}"
        if fits(sum(describe_folder(folder).num_examples.values()), spec.image_shape, in_memory):
            source, digest = read_cached(cache / key, lambda: read_folder(self.name, spec, folder))
        else:
            source, digest = store_folder(self.name, spec, folder, cache, None, num_workers), key
        if source.test is None:
            raise DataError(f"{folder} has no test split; move it away and prepare {self.name} again")
        return source, digest


def _read_digits(spec: DatasetSpec) -> Source:
    """Return the digits of scikit-learn, which have no test split."""
    from sklearn.datasets import load_digits  # It takes a second, and the other datasets do not need it.

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(np.asarray(pixels) * 255 / 16).astype(np.uint8).reshape(-1, *spec.image_shape)
    return Source(Split(images, np.asarray(labels, np.int32)), None, spec.class_names or ())
