"""The images of some classes of a source, with new labels."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from research.data.dataset import DataError, DatasetSpec, take
from research.data.image_source import ImageSource
from research.data.source import Source
from research.data.stored import StoredImages


@dataclass(frozen=True)
class ChosenClasses:
    """The images of some classes of a source. Labels are positions in `classes`.

    Args:
        images: the images of all classes.
        classes: at least two different classes. A whole number is a label, and a text is the name of a class.

    Example:
        >>> from research.data import TableImages
        >>> ChosenClasses(TableImages("digits"), (7, "3")).describe().class_names
        ('7', '3')
    """

    images: ImageSource
    classes: tuple[int | str, ...]

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self.images.name

    @property
    def resizing(self) -> str:
        """How the images are brought to one size, a name in `RESIZINGS`."""
        return getattr(self.images, "resizing", "crop")

    def describe(self) -> DatasetSpec:
        """Return the shapes of the images and the chosen classes.

        Raises:
            DataError: the images are missing, or the source lacks one of the classes.
        """
        spec = self.images.describe()
        names = spec.class_names
        if names is not None:
            names = tuple(names[label] for label in self._labels(names))
        return replace(spec, num_classes=len(self.classes), class_names=names)

    def locate(self) -> Path | None:
        """Return the folder or file from which the images are read."""
        return self.images.locate()

    def content(self, cache: Path) -> str | None:
        """Return the checksum of the images of all classes."""
        return self.images.content(cache)

    def read(
        self, cache: Path, in_memory: bool | None = True, num_workers: int = 0
    ) -> tuple[Source, str | None]:
        """Return the images of the chosen classes.

        For images in memory, the checksum of the chosen images is not known, and `None` is returned instead.

        Args:
            cache: the folder of caches.
            in_memory: as for `load_dataset`. `None` decides by the size of the images of all classes.
            num_workers: as for `load_dataset`.

        Raises:
            DataError: the images are missing or damaged, or the source lacks one of the classes.
        """
        source, digest = self.images.read(cache, in_memory, num_workers)
        labels = self._labels(source.class_names)
        new_labels = np.full(len(source.class_names), -1, np.int32)
        new_labels[labels] = np.arange(len(labels))
        chosen: dict[str, Any] = {}
        for name, split in source.splits.items():
            (kept,) = np.nonzero(new_labels[split.labels] >= 0)
            if not len(kept):
                raise DataError(f"{self._given} leaves no {name} image of {self.name}; give other classes")
            chosen[name] = take(split._replace(labels=new_labels[split.labels]), kept)
            if name == "train":
                columns = {key: getattr(source, key) for key in ("groups", "times")}
                chosen |= {key: column[kept] for key, column in columns.items() if column is not None}
        names = tuple(source.class_names[label] for label in labels)
        is_stored = isinstance(source.train.images, StoredImages)
        return source._replace(**chosen, class_names=names), digest if is_stored else None

    @property
    def _given(self) -> str:
        return f"data.classes=[{','.join(map(str, self.classes))}]"

    def _labels(self, names: tuple[str, ...]) -> list[int]:
        """Return the label of each chosen class among the classes of these names."""
        for each in self.classes:
            if each not in (range(len(names)) if isinstance(each, int) else names):
                raise DataError(
                    f"{self._given} is not allowed, because {self.name} has no class {each}; give labels "
                    f"from 0 to {len(names) - 1}, or names such as {names[0]}"
                )
        labels = [each if isinstance(each, int) else names.index(each) for each in self.classes]
        if len(set(labels)) < len(labels):
            raise DataError(f"{self._given} is not allowed; give each class once")
        return labels
