"""The section `data` of a configuration: where images come from, and how they are split."""

from dataclasses import dataclass
from typing import Annotated, Any

from research.config.sections import RECOMMENDED
from research.data import (
    AUGMENTATIONS,
    DATASETS,
    RESIZINGS,
    ChosenClasses,
    FolderImages,
    ImageSource,
    NpzImages,
    TableImages,
    TfdsImages,
    name_of_path,
)
from research.utils.constraints import AtLeastOne, Between, Fraction, OneOf, Rate, Share
from research.utils.strict import ConfigError, Functions, Named

SOURCES = ("table", "folder", "tfds", "npz")
"""Where images come from, by the value of `data.source`."""

ONLY_FROM = {
    "path": ("folder", "npz"),
    "image_size": ("folder", "tfds"),
    "resizing": ("folder", "tfds"),
    "channels": ("folder",),
    "skip_damaged": ("folder",),
    "groups": ("folder", "npz"),
    "time": ("folder", "npz"),
}
"""The sources with which each of these keys of `data` may have another value than its default."""

NEEDED_BY = {"folder": ("path", "image_size"), "npz": ("path",), "tfds": ("name",)}
"""The keys of `data` that each source needs."""

EXAMPLES = {
    "path": "the path of your images; give data.path=PATH",
    "image_size": "the height and the width to which images are resized; give data.image_size=[64,64]",
    "name": "the name of a prepared dataset; give data.name=NAME",
}
"""What is said about each of these keys if it is missing."""

SAMPLINGS = ("uniform", "balanced")
"""How an epoch may draw the training images."""

ADDED = ("classes", "folds", "fold", "groups", "time", "imbalance", "label_noise", "sampling")
"""Keys of `data` that count in the fingerprint of a run only if they do not have their default. They were
added later, and the fingerprints of earlier runs must stay the same."""

DATA_CHOICES = (*DATASETS, *SOURCES[1:])
"""What `data=` may be: the name of a dataset of the table, or another source."""


def data_choice(name: str) -> dict[str, Any]:
    """Return the keys that `data=NAME` sets.

    Example:
        >>> data_choice("mnist"), data_choice("folder")
        ({'source': 'table', 'name': 'mnist'}, {'source': 'folder', 'name': None})
    """
    return {"source": name, "name": None} if name in SOURCES[1:] else {"source": "table", "name": name}


@dataclass(frozen=True)
class DataConfig:
    """Which images a run reads, and how they are split.

    Args:
        name: the dataset; with `data=tfds`, its name in TFDS, such as emnist/balanced. null: the last part
            of `data.path`, or digits.
        source: where the images come from: `table` is a dataset that this program knows, `folder` a folder or
            CSV file of image files, `tfds` a prepared folder of TFDS, `npz` a file with the arrays x and y.
        path: the folder, CSV file or npz file of `data=folder` or `data=npz`; nothing is written into it.
        dir: folder of prepared datasets; null: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        cache_dir: folder of decoded images; null: the user's cache folder.
        image_size: height and width of the images in pixels; null: those of the files, which must be equal.
        resizing: how an image gets that size: `crop` keeps the centre, `stretch` ignores the ratio of the
            sides, `pad` adds black borders.
        channels: 3 reads colour images from the files of a folder, 1 reads grey ones.
        skip_damaged: leave out files of a folder that cannot be used, instead of refusing them.
        classes: the classes to use, as labels (whole numbers) or names; they get the labels 0, 1, ... in this
            order. null: all classes.
        validation_fraction: share of the training images that becomes the validation split; share of all
            images, if the user's own images have no split; 0 trains on all images, and needs
            `training.keep=last`.
        test_fraction: share of the images that becomes the test split, if they have none.
        split_seed: seed of the shuffle before the validation split is taken.
        train_limit: number of training images to use; null: all.
        folds: number of folds of a cross-validation; the test split is then one fold of the training images.
            null: no cross-validation.
        fold: the fold that is the test split, counted from 0; `data.fold=range(0,5)` sweeps over five folds.
        groups: column of the CSV file, or array of the npz file, with the group of each image; images of one
            group are never in two splits.
        time: column of the CSV file, or array of the npz file, with the time of each image; the latest images
            are tested, and those before them validate.
        imbalance: make a long tail of the training images: the last class keeps this share of the images of
            the first, and the classes between them fall exponentially.
        label_noise: share of the training images that get the label of another class.
        sampling: how an epoch draws the training images: `uniform` takes each once, `balanced` takes equally
            many of each class, the images of rare classes several times.
        in_memory: false decodes the images of each step from their files ahead of the step; true holds all
            images in memory; null: true if they fit into the free memory.
        workers: number of processes that decode images that are not held in memory; 0: threads of the run.
        augmentations: random changes of the training images, which are applied in this order; each is a name,
            or a mapping with a name and keyword arguments, such as `{name: crop, padding: 2}`.
    """

    name: str = RECOMMENDED
    source: Annotated[str, OneOf(SOURCES)] = "table"
    path: str | None = None
    dir: str | None = None
    cache_dir: str | None = None
    image_size: tuple[Annotated[int, Between(1, 4096)], ...] | None = None
    resizing: Annotated[str, OneOf(RESIZINGS)] = "crop"
    channels: Annotated[int, Between(1, 3)] = 3
    skip_damaged: bool = False
    classes: tuple[int | str, ...] | None = None
    validation_fraction: Annotated[float, Rate] = 0.1
    test_fraction: Annotated[float, Fraction] = 0.2
    split_seed: Annotated[int, Between(0)] = 0
    train_limit: Annotated[int, AtLeastOne] | None = None
    folds: Annotated[int, Between(2)] | None = None
    fold: Annotated[int, Between(0)] = 0
    groups: str | None = None
    time: str | None = None
    imbalance: Annotated[float, Share] = 1.0
    label_noise: Annotated[float, Rate] = 0.0
    sampling: Annotated[str, OneOf(SAMPLINGS)] = "uniform"
    in_memory: bool | None = None
    workers: Annotated[int, Between(0, 256)] = 0
    augmentations: tuple[Annotated[Named, Functions(AUGMENTATIONS)], ...] = ()

    def __post_init__(self) -> None:
        for key, sources in ONLY_FROM.items():
            value = getattr(self, key)
            if self.source not in sources and value != getattr(DataConfig, key):
                shown = list(value) if isinstance(value, tuple) else value
                raise ConfigError(
                    f"data.{key}={shown} is not allowed with data.source={self.source}; "
                    f"give data={' or data='.join(sources)}, or leave it out"
                )
        for key in NEEDED_BY.get(self.source, ()):
            if getattr(self, key) in (None, ""):
                raise ConfigError(f"data={self.source} needs data.{key}, {EXAMPLES[key]}")
        if self.image_size is not None and len(self.image_size) != 2:
            raise ConfigError(
                f"data.image_size={list(self.image_size)} is not allowed; give the height and the width, "
                "such as [64,64]"
            )
        if self.channels == 2:
            raise ConfigError("data.channels=2 is not allowed; give 1 or 3")
        if self.classes is not None and (len(self.classes) < 2 or len({*self.classes}) < len(self.classes)):
            raise ConfigError(
                f"data.classes={list(self.classes)} is not allowed; give at least two classes, each once"
            )
        if self.fold >= (self.folds or 1):
            allowed = "0, or give data.folds too" if self.folds is None else f"0 to {self.folds - 1}"
            raise ConfigError(f"data.fold={self.fold} is not allowed; give {allowed}")
        if self.groups is not None and self.time is not None:
            raise ConfigError("data.groups and data.time are not allowed together; give one of the two keys")
        name = self.name or "digits"
        if self.source == "table" and name not in DATASETS:
            raise ConfigError(f"data.name={name} is not allowed; give {OneOf(DATASETS)}")
        if self.in_memory is False and (self.source == "npz" or (self.source, name) == ("table", "digits")):
            raise ConfigError(
                f"data.in_memory=false is not allowed with data={'npz' if self.source == 'npz' else name}, "
                "which is read as a whole; give data.in_memory=null"
            )
        if self.path is not None:
            name = name_of_path(self.path)
            if self.name not in (None, name):
                raise ConfigError(
                    f"data.name={self.name} is not allowed with data.path={self.path}; leave it out, since "
                    f"the name is {name}"
                )
        object.__setattr__(self, "name", name)

    @property
    def images(self) -> ImageSource:
        """The source of the images of the chosen classes."""
        return self._all_images if self.classes is None else ChosenClasses(self._all_images, self.classes)

    @property
    def _all_images(self) -> ImageSource:
        if self.source == "folder" and self.path is not None and self.image_size is not None:
            return FolderImages(
                self.path,
                self.image_size,
                self.resizing,
                self.channels,
                self.skip_damaged,
                self.groups,
                self.time,
            )
        if self.source == "npz" and self.path is not None:
            return NpzImages(self.path, self.groups, self.time)
        if self.source == "tfds":
            return TfdsImages(self.name, self.dir, self.image_size, self.resizing)
        return TableImages(self.name, self.dir)
