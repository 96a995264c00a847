"""The interface of a source of images, and the folder of caches."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import platformdirs

from research.data.dataset import DatasetSpec
from research.data.source import Source


@runtime_checkable
class ImageSource(Protocol):
    """Images that can be described, and decoded into arrays."""

    @property
    def name(self) -> str:
        """The name of the dataset in reports and errors."""
        ...

    def describe(self) -> DatasetSpec:
        """Return the shapes, the classes and the recommendations, without decoding an image.

        Raises:
            DataError: the images are missing, or a file cannot be used.
        """
        ...

    def locate(self) -> Path | None:
        """Return the folder or file from which the images are read, or `None` if a package holds them.

        Raises:
            DataError: a prepared dataset is not in its folder.
        """
        ...

    def content(self, cache: Path) -> str | None:
        """Return a checksum of the files that are read, or `None` if the name alone identifies the images.

        Args:
            cache: the folder of caches.
        """
        ...

    def read(
        self, cache: Path, in_memory: bool | None = True, num_workers: int = 0
    ) -> tuple[Source, str | None]:
        """Return the images, and their checksum if it is known.

        If the images stay on disk, their checksum is not known. Then a text is returned in its place, which
        changes when an image changes.

        Args:
            cache: the folder of caches.
            in_memory: whether the images are decoded into memory; `None` decides by their size.
            num_workers: the number of processes that read images on disk.

        Raises:
            DataError: a file is missing or damaged.
        """
        ...


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of caches, which is in the cache folder of the user if `cache_dir` is not given."""
    return Path(cache_dir or platformdirs.user_cache_dir("cnn-research")).expanduser()
