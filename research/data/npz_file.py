"""The images of a user in an npz file with the arrays `x` and `y`."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research.data.columns import parse_times
from research.data.dataset import DataError, DatasetSpec, Split, recommend
from research.data.image_folder import files_checksum, name_of_path
from research.data.listing import image_file
from research.data.source import MODES, Source
from research.utils.errors import first_line

FORMAT = np.lib.format


@dataclass(frozen=True)
class NpzImages:
    """The images of an npz file, which holds images `x` and labels `y`.

    `x` is `[N, H, W]`, `[N, H, W, 1]` or `[N, H, W, 3]`, uint8. `y` is `[N]`, whole numbers or texts; its
    distinct values, in order, are the classes.

    Args:
        path: the path of the file.
        groups: the name of an array `[N]` with the group of each image, if each group must stay together.
        time: the name of an array `[N]` with the time of each image, if the splits follow the time.
    """

    path: str | Path
    groups: str | None = None
    time: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path, without `.npz`."""
        return name_of_path(self.path)

    def locate(self) -> Path:
        """Return the path; `describe` checks what is there."""
        return Path(self.path).expanduser()

    def describe(self) -> DatasetSpec:
        """Return the shapes, the classes and the recommendations, without reading the images.

        Raises:
            DataError: the file is missing or damaged, or an array has another dtype or shape.
        """
        _, labels, shape, class_names, _ = self._open(images=False)
        return recommend(shape, class_names, {"train": len(labels)})

    def content(self, cache: Path) -> str:
        """Return a checksum of the bytes of the file.

        Args:
            cache: the folder of caches.

        Raises:
            DataError: there is no such file, or it cannot be used.
        """
        self.describe()
        return files_checksum([image_file(os.fspath(self.locate()))[0]], (), cache)

    def read(self, cache: Path, in_memory: bool | None = True, num_workers: int = 0) -> tuple[Source, None]:
        """Return the images, and `None` in place of a checksum. The images are always held in memory.

        Raises:
            DataError: the file is missing or damaged, or an array has another dtype or shape.
        """
        images, labels, shape, class_names, column = self._open(images=True)
        source = Source(Split(images.reshape(-1, *shape), labels), None, class_names)
        if self.time is not None:
            return source._replace(times=parse_times(column.tolist(), self.time)), None
        return source._replace(groups=column if self.groups else None), None

    def _open(
        self, *, images: bool
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int], tuple[str, ...], np.ndarray]:
        """Return `x` or an empty array, the labels, the shape `(H, W, C)`, the classes, and the column."""
        path, name = self.locate(), self.groups or self.time or "y"
        try:
            if path.exists() and not zipfile.is_zipfile(path):
                raise DataError("it is no npz file")
            with np.load(path, allow_pickle=False) as arrays:
                if missing := {"x", "y", name} - set(arrays.files):
                    held = ", ".join(arrays.files) or "none"
                    raise DataError(f"it has no array {min(missing)}; its arrays are {held}")
                shape, dtype = _header(arrays.zip, "x.npy")
                y, column = arrays["y"], arrays[name]
                x = arrays["x"] if images else np.empty(0, np.uint8)
        except FileNotFoundError:
            raise DataError(f"data.path={self.path} does not exist; give an npz file") from None
        except Exception as error:  # a damaged file raises one of many types
            wanted = "x and y" if name == "y" else f"x, y and {name}"
            raise DataError(
                f"data.path={self.path} cannot be read ({first_line(error)}); give an npz file with the "
                f"arrays {wanted}"
            ) from error
        if dtype != np.uint8 or len(shape) not in (3, 4) or (*shape, 1)[3] not in MODES or 0 in shape:
            raise DataError(
                f"data.path={self.path} has x of {dtype} {list(shape)}; give uint8 from 0 to 255 with the "
                "shape [N, H, W], [N, H, W, 1] or [N, H, W, 3]"
            )
        if y.shape != shape[:1] or y.dtype.kind not in "iuU":
            raise DataError(
                f"data.path={self.path} has y of {y.dtype} {list(y.shape)}; give whole numbers or texts with "
                f"the shape [{shape[0]}]"
            )
        if column.shape != y.shape:
            raise DataError(
                f"data.path={self.path} has {name} of the shape {list(column.shape)}; give one value for "
                f"each of the {len(y)} images"
            )
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"data.path={self.path} has the one class {classes[0]}; give at least two")
        height, width, channels = (*shape[1:], 1)[:3]
        return x, labels.astype(np.int32), (height, width, channels), tuple(map(str, classes)), column


def _header(archive: Any, member: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and the dtype of an array in an archive, without reading the array."""
    with archive.open(member) as file:
        version = FORMAT.read_magic(file)
        read = FORMAT.read_array_header_1_0 if version == (1, 0) else FORMAT.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype
