"""The images of a user in a folder or a CSV file, decoded in parallel and cached, or left on disk."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from research.data.cache import kept_arrays, read_cached
from research.data.columns import parse_times
from research.data.dataset import DataError, DatasetSpec, Split, recommend, take
from research.data.decode import decode_image
from research.data.listing import ImageFile, Listing, list_images, refuse_files
from research.data.source import Source
from research.data.stored import StoredImages, read_ahead
from research.utils.cpus import num_cpus
from research.utils.errors import reason_of
from research.utils.files import sha256, write_atomically
from research.utils.memory import free_memory, machine_memory
from research.utils.progress_bar import track


def files_checksum(files: list[ImageFile], facts: object, cache: Path) -> str:
    """Return the sha256 of the contents of files, in hexadecimal digits. It does not depend on their paths.

    The result is kept in the folder `cache`, so the files are read again only if the path, the size or a time
    of a file changes.

    Args:
        files: the files.
        facts: what else the checksum depends on, such as the labels. The `repr` of this object is used.
        cache: the folder of caches.
    """
    listing = hashlib.sha256(repr((files, facts)).encode()).hexdigest()
    known = cache / "checksums" / listing
    with suppress(OSError):
        return known.read_text(encoding="utf-8")
    with ThreadPoolExecutor(num_cpus()) as pool:
        digests = list(pool.map(_digest, files))
    checksum = hashlib.sha256(repr((digests, facts)).encode()).hexdigest()
    with suppress(OSError):  # without the file in the cache, the images are read again at the next start
        known.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(known, checksum.encode())
    return checksum


def _digest(file: ImageFile) -> str:
    try:
        return sha256(Path(file.path))
    except OSError:  # the decoding of the file will raise an error with the reason
        return ""


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder or of a CSV file, as `list_images` finds them.

    Nothing is written into the folder.

    Args:
        path: the folder, with a folder for each class or the folders `train`, `val` and `test`; or a CSV file
            with the columns `path` and `label`.
        image_size: the height and the width of the decoded images in pixels.
        resizing: the way in which an image is brought to that size, a name in `RESIZINGS`.
        channels: 3 for colour images, 1 for grey ones.
        skip_damaged: whether files that cannot be used are left out. Otherwise they raise an error.
        groups: the column of a CSV file with the group of each image, if each group must stay together.
        time: the column of a CSV file with the time of each image, if the splits follow the time.
    """

    path: str | Path
    image_size: tuple[int, ...]
    resizing: str = "crop"
    channels: int = 3
    skip_damaged: bool = False
    groups: str | None = None
    time: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return name_of_path(self.path)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape `(H, W, C)` of a decoded image."""
        height, width = self.image_size
        return height, width, self.channels

    def locate(self) -> Path:
        """Return the path; `describe` checks what is there."""
        return Path(self.path).expanduser()

    def list_files(self) -> Listing:
        """Return the image files.

        Raises:
            DataError: `list_images` raises it, or a file is no image and `skip_damaged` is false.
        """
        listing = list_images(self.locate(), self.groups or self.time)
        if not self.skip_damaged:
            listing.refuse(listing.problems)
        return listing

    def describe(self) -> DatasetSpec:
        """Return the shapes, the classes and the recommendations, without opening an image.

        Raises:
            DataError: a file is missing or is no image.
        """
        listing = self.list_files()
        counts = {split: len(files) for split, files in listing.files.items()}
        return recommend(self.image_shape, listing.class_names, counts)

    def content(self, cache: Path) -> str:
        """Return a checksum of the images, their classes and their splits. It does not depend on their paths.

        Args:
            cache: the folder of caches.
        """
        return self._content(self.list_files(), cache)

    def _content(self, listing: Listing, cache: Path) -> str:
        labels = {split: [label for _, label in files] for split, files in listing.files.items()}
        files = [file for pairs in listing.files.values() for file, _ in pairs]
        facts = (listing.class_names, labels, *filter(None, [listing.column]))
        return files_checksum(files, facts, cache)

    def read(self, cache: Path, in_memory: bool | None = True, num_workers: int = 0) -> tuple[Source, str]:
        """Return the images and their checksum. For images on disk, it is a text that depends on the files.

        Args:
            cache: the folder of caches.
            in_memory: as for `load_dataset`.
            num_workers: as for `load_dataset`.

        Raises:
            DataError: a file is missing, or a file is damaged and `skip_damaged` is false. If the images stay
                on disk, the error about a damaged file comes when the image is read.
        """
        listing = self.list_files()
        shape = "x".join(map(str, self.image_shape))
        content = self._content(replace(listing, column={}), cache)  # the pixels do not depend on the column
        key = f"folder-{content[:16]}-{shape}-{self.resizing}"
        if not fits(sum(map(len, listing.files.values())), self.image_shape, in_memory):
            source, digest = self._store(listing, cache / "scans" / f"{key}-damaged.npz", num_workers), key
        else:
            folder = cache / (f"{key}-skip" if self.skip_damaged else key)
            source, digest = read_cached(folder, partial(self._decode, listing))
        left_out = listing.problems | self._reasons(listing, source.damaged)
        return self._with_columns(source._replace(left_out=left_out), listing), digest

    def _with_columns(self, source: Source, listing: Listing) -> Source:
        """Return the source with the groups or times of its training images."""
        damaged = {(split, index) for split, index, _ in source.damaged}
        columns = {
            split: [value for index, value in enumerate(values) if (split, index) not in damaged]
            for split, values in listing.column.items()
        }
        if self.time is not None:
            return source._replace(times=parse_times(columns["train"], self.time))
        if self.groups is None:
            return source
        for split in columns.keys() - {"train"}:
            if shared := {*columns["train"]} & {*columns[split]}:
                raise DataError(
                    f"data.groups={self.groups} is not allowed, because {self.path} has images of "
                    f"{min(shared)} in the splits train and {split}; put each group into one split"
                )
        return source._replace(groups=np.array(columns["train"]))

    def names(self, source: Source) -> dict[str, list[str]]:
        """Return the path of each image of a decoded source, relative to the folder, by split.

        Args:
            source: what `read` returned.
        """
        listing = list_images(self.locate())
        damaged = {(split, index) for split, index, _ in source.damaged}
        return {
            split: [
                os.path.relpath(file.path, listing.root)
                for index, (file, _) in enumerate(files)
                if (split, index) not in damaged
            ]
            for split, files in listing.files.items()
        }

    @staticmethod
    def _reasons(listing: Listing, damaged: Iterable[tuple[str, int, str]]) -> dict[str, str]:
        """Return what is wrong with each damaged file, by its path relative to the folder."""
        return {
            os.path.relpath(listing.files[split][index][0].path, listing.root): reason
            for split, index, reason in damaged
        }

    def _decode(self, listing: Listing) -> Source:
        splits: dict[str, Split] = {}
        reasons: dict[str, list[str]] = {}
        for split, files in listing.files.items():
            pixels, reasons[split] = decode_files(
                [file.path for file, _ in files],
                lambda path: decode_image(path, self.image_shape, self.resizing),
                self.image_shape,
                f"decoding {self.name}",
            )
            splits[split] = Split(pixels, np.array([label for _, label in files], np.int32))
        return self._without_damaged(listing, splits, reasons)

    def _store(self, listing: Listing, damaged_path: Path, num_workers: int) -> Source:
        """Return the images on disk. With `skip_damaged`, all are decoded once to find the damaged ones."""
        splits, reasons, first = {}, {}, 0
        paths = tuple(file.path for files in listing.files.values() for file, _ in files)
        reader = ReadFiles(listing.path, listing.root, paths, self.image_shape, self.resizing)
        wrong = np.full(len(paths), "")
        if self.skip_damaged:
            wrong = kept_arrays(damaged_path, lambda: {"reasons": self._find_damaged(reader)})["reasons"]
        for split, files in listing.files.items():
            positions = np.arange(first, first := first + len(files))
            images = StoredImages(reader, positions, self.image_shape, num_workers)
            splits[split] = Split(images, np.array([label for _, label in files], np.int32))
            reasons[split] = wrong[positions].tolist()
        return self._without_damaged(listing, splits, reasons)

    def _find_damaged(self, reader: "ReadFiles") -> np.ndarray:
        """Return for each file what is wrong with it, or "", as an array of texts `[N]`."""
        count = len(reader.paths)
        with closing(iter(read_ahead(reader.reason, count))) as reasons:
            return np.array(list(track(reasons, f"checking {self.name}", "images", count)))

    def _without_damaged(
        self, listing: Listing, splits: dict[str, Split], reasons: dict[str, list[str]]
    ) -> Source:
        """Return the source without damaged files. If `skip_damaged` is false, they raise an error."""
        listed = ((split, *each) for split in splits for each in enumerate(reasons[split]))
        damaged = [each for each in listed if each[2]]
        if damaged and not self.skip_damaged:
            listing.refuse(self._reasons(listing, damaged))
        if damaged:
            used = {split: np.flatnonzero([not reason for reason in reasons[split]]) for split in splits}
            splits = {name: take(split, used[name]) for name, split in splits.items()}
        present = np.bincount(splits["train"].labels, minlength=len(listing.class_names))
        lacking = [
            f"training image of the class {name}" for name in np.array(listing.class_names)[present == 0]
        ]
        lacking += [f"{name} image" for name, split in splits.items() if not len(split.labels)]
        if lacking:
            raise DataError(f"{self.path} has no undamaged {lacking[0]}; add one")
        test, validation = (splits.get(name) for name in ("test", "validation"))
        return Source(splits["train"], test, listing.class_names, validation, tuple(damaged))


@dataclass(frozen=True)
class ReadFiles:
    """The function that reads one of many image files.

    Args:
        path: the folder or the CSV file of the images.
        root: the folder to which the paths in errors are relative.
        paths: the path of each file.
        image_shape: the shape `(H, W, C)` of a decoded image.
        resizing: the way in which an image is brought to that size, a name in `RESIZINGS`.
    """

    path: Path
    root: Path
    paths: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resizing: str

    def __call__(self, position: int) -> np.ndarray:
        """Return the pixels `[H, W, C]` of a file."""
        try:
            return decode_image(self.paths[position], self.image_shape, self.resizing)
        except (ValueError, OSError) as error:
            raise DataError(f"{self.paths[position]} cannot be used: {reason_of(error)}") from error

    def reason(self, position: int) -> str:
        """Return what is wrong with a file, or ""."""
        try:
            decode_image(self.paths[position], self.image_shape, self.resizing)
        except (ValueError, OSError) as error:
            return reason_of(error)
        return ""

    def refuse(self, positions: list[int]) -> None:
        """Raise the error that names some files."""
        shown = {os.path.relpath(self.paths[each], self.root): self.reason(each) for each in positions}
        refuse_files(self.path, shown)


def decode_files(
    paths: list[str], decode: Callable[[str], np.ndarray], shape: tuple[int, int, int], what: str
) -> tuple[np.ndarray, list[str]]:
    """Decode files in parallel, in threads. Pillow decodes without the GIL, so processes are not faster.

    Args:
        paths: the paths of the files.
        decode: a function of a path that returns pixels `[H, W, C]`, or raises a `ValueError` or `OSError`.
        shape: the shape `(H, W, C)` of an image.
        what: the text in front of the progress bar.

    Returns:
        The pixels `[N, H, W, C]`, uint8, and for each file the reason why it cannot be decoded, or "".
    """
    pixels = np.zeros((len(paths), *shape), np.uint8)

    def decode_one(index: int) -> str:
        try:
            pixels[index] = decode(paths[index])
        except (ValueError, OSError) as error:
            return reason_of(error)
        return ""

    with warnings.catch_warnings(), ThreadPoolExecutor(num_cpus()) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata in images that it decodes
        return pixels, list(track(pool.map(decode_one, range(len(paths))), what, "images", len(paths)))


def fits(count: int, shape: tuple[int, int, int], in_memory: bool | None) -> bool:
    """Return whether images are to be held in memory.

    Args:
        count: the number of images.
        shape: the shape `(H, W, C)` of an image.
        in_memory: the choice of the user. `None` holds the images in memory if they and one copy of them fit
            into the free memory.

    Raises:
        DataError: `in_memory` is true, and the images do not fit into the memory of the machine.
    """
    needed, there = 2 * count * shape[0] * shape[1] * shape[2], machine_memory()
    if in_memory and needed > there:
        size = list(shape[:2])
        raise DataError(
            f"{count:,} images with data.image_size={size} take {needed / 1e9:,.0f} GB in memory, and this "
            f"machine has {there / 1e9:,.0f} GB; give a smaller size, or data.in_memory=null to train on them"
        )
    return needed <= free_memory() if in_memory is None else in_memory


def name_of_path(path: str | Path) -> str:
    """Return the last part of a path, without `.csv` or `.npz`.

    Example:
        >>> name_of_path("data/photos/"), name_of_path("~/labels.csv")
        ('photos', 'labels')
    """
    last = Path(os.path.abspath(path))
    return last.stem if last.suffix.lower() in (".csv", ".npz") else last.name
