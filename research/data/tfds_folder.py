"""The images of any dataset that TFDS has prepared in array_record format, without TensorFlow."""

import hashlib
import io
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from research.data.cache import read_cached
from research.data.dataset import DataError, DatasetSpec, recommend
from research.data.decode import decode_image
from research.data.image_folder import fits
from research.data.source import INFO, Source, describe_folder, fingerprint, read_folder
from research.data.table import data_folder
from research.data.tfds_records import store_folder

VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class TfdsImages:
    """The images of a prepared dataset of TFDS with one image and one class in each example.

    Args:
        name: the name of the dataset, which may be followed by a configuration and a version, such as
            `emnist/balanced` or `emnist/balanced/3.0.0`. Without a version, the newest one is read.
        data_dir: the folder of TFDS datasets, which is `default_data_dir()` if not given.
        image_size: the height and the width of the decoded images. If not given, all images must have the
            same size.
        resizing: the way in which an image is brought to that size, a name in `RESIZINGS`.
    """

    name: str
    data_dir: str | Path | None = None
    image_size: tuple[int, ...] | None = None
    resizing: str = "crop"

    def locate(self) -> Path:
        """Return the folder of the newest version of the dataset.

        Raises:
            DataError: there is no such folder.
        """
        data_dir = data_folder(self.data_dir)
        folder = data_dir / self.name
        if (folder / INFO).is_file():
            return folder
        below = [path.parent for path in folder.glob(f"*/{INFO}") if VERSION.fullmatch(path.parent.name)]
        if below:
            return max(below, key=lambda path: tuple(map(int, path.name.split("."))))
        if configs := sorted({path.parent.parent.name for path in folder.glob(f"*/*/{INFO}")}):
            raise DataError(
                f"data.name={self.name} has the configurations {', '.join(configs)}; give one of them, such "
                f"as data.name={self.name}/{configs[0]}"
            )
        raise DataError(
            f"data.name={self.name} is not in {data_dir}; prepare it with tensorflow-datasets in the format "
            "array_record, or give data.dir"
        )

    def describe(self) -> DatasetSpec:
        """Return the shapes, the classes and the recommendations, without opening an image.

        Raises:
            DataError: the dataset is missing, or it has no image or no class.
        """
        described = describe_folder(self.locate())
        height, width, channels = described.image_shape
        if self.image_size is not None:
            height, width = self.image_size
        if height is None or width is None:
            raise DataError(
                f"data.image_size=null is not allowed, because the images of {self.name} have several sizes; "
                "give the height and the width, such as [64,64]"
            )
        return recommend((height, width, channels), described.class_names, described.num_examples)

    def content(self, cache: Path) -> str:
        """Return a checksum of the files that describe the dataset."""
        folder = self.locate()
        files = [folder / INFO, folder / "features.json"]
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def read(self, cache: Path, in_memory: bool | None = True, num_workers: int = 0) -> tuple[Source, str]:
        """Return the images and their checksum. For images on disk, it is a text that depends on the files.

        Args:
            cache: the folder of caches.
            in_memory: as for `load_dataset`.
            num_workers: as for `load_dataset`.

        Raises:
            DataError: a file is missing or damaged. If the images stay on disk, the error about a damaged
                image comes when the image is read.
        """
        folder, spec = self.locate(), self.describe()
        key = f"tfds-{fingerprint(folder)}"
        decode = None
        if self.image_size is not None:
            decode = partial(_decode, shape=spec.image_shape, resizing=self.resizing)
            key += f"-{'x'.join(map(str, self.image_size))}-{self.resizing}"
        if not fits(sum(describe_folder(folder).num_examples.values()), spec.image_shape, in_memory):
            return store_folder(self.name, spec, folder, cache, decode, num_workers), key
        return read_cached(cache / key, lambda: read_folder(self.name, spec, folder, decode))


def _decode(content: bytes, shape: tuple[int, int, int], resizing: str) -> np.ndarray:
    try:
        return decode_image(io.BytesIO(content), shape, resizing)
    except ValueError as error:
        raise DataError(f"its image cannot be used: {error}") from error
