"""The image files of a user's folder or CSV file with their classes, found without opening an image."""

import csv
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from research.data.dataset import DataError
from research.utils.errors import reason_of
from research.utils.strict import is_writable

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""The ends of the names of image files, in lower case."""

OF_SYSTEMS = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    *("__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir"),
}
"""Names in lower case of files and folders that operating systems write into folders of images."""

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""The split that the name of a folder, or a value in the column `split`, stands for."""

SHOWN = 10
"""The largest number of files, or of classes, that an error names."""

SKIP = ", or give data.skip_damaged=true to leave it out"
"""What to do instead of removing files that cannot be used, in an error."""


class ImageFile(NamedTuple):
    """An image file: its path, and its size and times, which change when its content changes."""

    path: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class Listing:
    """The image files of a user by split and class.

    Args:
        path: the folder or the CSV file.
        class_names: the names of the classes of the training images. Labels are indices into them.
        files: the image files by split, each with its label.
        problems: what is wrong with each file that is no image, by its path.
        column: the values of a further column of the CSV file, one for each image file, by split. It is empty
            if no further column is read.
    """

    path: Path
    class_names: tuple[str, ...]
    files: dict[str, list[tuple[ImageFile, int]]]
    problems: dict[str, str] = field(default_factory=dict)
    column: dict[str, list[str]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The folder to which the shown paths are relative."""
        return self.path if self.path.is_dir() else self.path.parent

    def refuse(self, problems: dict[str, str], hint: str = SKIP) -> None:
        """Raise an error that names files that cannot be used, if there are any.

        Args:
            problems: what is wrong with each file, by its path.
            hint: what to do instead of removing the files.
        """
        if problems:
            refuse_files(self.path, problems, hint)


def refuse_files(path: Path, problems: dict[str, str], hint: str = SKIP) -> NoReturn:
    """Raise an error that names files that cannot be used.

    Args:
        path: the folder or the CSV file.
        problems: what is wrong with each file, by its path.
        hint: what to do instead of removing the files.

    Raises:
        DataError: always.
    """
    named = [f"{name} ({reason})" for name, reason in list(problems.items())[:SHOWN]]
    more = f", and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    files = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    raise DataError(
        f"{path} has {files} that cannot be used: {', '.join(named)}{more}; remove what is named{hint}"
    )


def list_images(path: Path, column: str | None = None) -> Listing:
    """Return the image files of a folder or of a CSV file.

    A folder holds a folder for each class, or the folders `train`, `val` and `test` with those inside. The
    images of a class may lie in folders of its folder. Links are followed. A CSV file has the columns `path`,
    relative to the folder of the file, and `label`, and may have the column `split`.

    Args:
        path: the folder or the file.
        column: a further column of the CSV file that is read, if any.

    Raises:
        DataError: there is no such folder, file or column, fewer than two classes have training images, or a
            class of validation or test images has no training image.
    """
    found, problems = _find(path, column)
    class_names = _in_order({name for name, split, _, _ in found if split == "train"})
    for name, split, file, _ in found:
        if name not in class_names:
            raise DataError(
                f"data.path={path} has {split} images of the class {name}, such as {file.path}, and no "
                "training image of it; add training images, or remove the class"
            )
    if len(class_names) < 2:
        there = f"the one class {next(iter(class_names))}" if class_names else "no images"
        raise DataError(
            f"data.path={path} has {there}; give a folder with at least two folders of images, one for each "
            "class"
        )
    files: dict[str, list[tuple[ImageFile, int]]] = {}
    values: dict[str, list[str]] = {}
    for name, split, file, value in found:
        files.setdefault(split, []).append((file, class_names[name]))
        values.setdefault(split, []).append(value)
    return Listing(path, tuple(class_names), files, problems, {} if column is None else values)


def list_new_images(path: Path, class_names: tuple[str, ...]) -> Listing:
    """Return the image files that a trained network is to classify, as the split `test`.

    If the folder or the CSV file has a test split, these are the test images, and otherwise all images.

    Args:
        path: the folder or the CSV file, as for `list_images`.
        class_names: the classes of the network. Some of them may have no image.

    Raises:
        DataError: there is no such folder or file, it has no image, or it has an image of another class.
    """
    found, problems = _find(path, None)
    found = [each for each in found if each[1] == "test"] or found
    if not found:
        raise DataError(f"{path} has no images; give a folder with a folder of images for each class")
    refuse_unknown_classes(str(path), {name for name, _, _, _ in found}, class_names)
    files = [(file, class_names.index(name)) for name, _, file, _ in found]
    return Listing(path, class_names, {"test": files}, problems)


def refuse_unknown_classes(name: str, found: set[str], class_names: tuple[str, ...]) -> None:
    """Raise an error if some images have classes that a network does not know. The error names the classes.

    Args:
        name: the name of the images.
        found: the names of the classes that have images.
        class_names: the classes of the network.
    """
    if unknown := sorted(found - {*class_names}):
        shown = [", ".join(each[:SHOWN]) + ", ..." * (len(each) > SHOWN) for each in (unknown, class_names)]
        raise DataError(
            f"{name} has images of classes that the network does not know: {shown[0]}; give images of "
            f"its classes, which are {shown[1]}"
        )


def _find(path: Path, column: str | None) -> "tuple[Found, dict[str, str]]":
    """Return the images of a folder or of a CSV file, and what is wrong with its other files."""
    if path.is_dir():
        if column is not None:
            raise DataError(
                f"the column {column} needs a CSV file, and data.path={path} is a folder; give a CSV file "
                f"with the columns path, label and {column}"
            )
        found, problems = _read_folder(path)
    elif path.suffix.lower() == ".csv" and path.is_file():
        found, problems = _read_csv(path, column)
    else:
        what = "is no folder and no CSV file" if path.exists() else "does not exist"
        raise DataError(f"data.path={path} {what}; give a folder with a folder for each class, or a CSV file")
    return found, problems


Found = list[tuple[str, str, ImageFile, str]]
"""The class name, the split, the file and the value in the further column of each image."""


def _in_order(names: Iterable[str]) -> dict[str, int]:
    """Return the label of each class. If all names are whole numbers, the labels follow the numbers."""
    names = set(names)
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return {name: label for label, name in enumerate(sorted(names, key=int if numbers else None))}


def _read_folder(root: Path) -> tuple[Found, dict[str, str]]:
    """Return the images of a folder of folders, and what is wrong with its other files."""
    found: Found = []
    problems: dict[str, str] = {}
    names = {entry.name for entry in _visible(root) if entry.is_dir()}
    folders = {str(root): "train"}
    if "train" in names and names <= SPLITS.keys():  # otherwise a class may have such a name
        if {"val", "validation"} <= names:
            raise DataError(f"data.path={root} has the folders val and validation; remove one of them")
        problems |= _files_beside_classes(root, root)
        folders = {os.path.join(root, name): SPLITS[name] for name in sorted(names)}
    for folder, split in folders.items():
        problems |= _files_beside_classes(root, folder)
        for entry in _visible(folder):
            if entry.is_dir():
                images, wrong = _read_class(root, entry, split)
                found += images
                problems |= wrong
    return found, problems


def _files_beside_classes(root: Path, folder: str | Path) -> dict[str, str]:
    entries = _visible(folder)
    return {_shown(root, e.path): "it lies in no folder of a class" for e in entries if not e.is_dir()}


def _read_class(root: Path, folder: os.DirEntry[str], split: str) -> tuple[Found, dict[str, str]]:
    """Return the images in the folder of a class, and what is wrong with its other files."""
    name = unicodedata.normalize("NFC", folder.name)  # macOS writes an accent as a character of its own
    if not is_writable(name):
        return [], {_shown(root, folder.path): "its name is no text in UTF-8"}
    files = list(_files_below(folder.path, ()))
    if not files:
        return [], {_shown(root, folder.path): "a folder without images"}
    problems = {_shown(root, file.path): reason for file, reason in files if reason}
    return [(name, split, file, "") for file, reason in files if not reason], problems


def _visible(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder by name, without hidden ones and those of operating systems."""
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in OF_SYSTEMS]
    except OSError as error:
        raise DataError(f"data.path: {folder} cannot be read ({error.strerror}); allow reading it") from error
    return sorted(kept, key=lambda entry: unicodedata.normalize("NFC", entry.name))


def _files_below(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[ImageFile, str]]:
    """Yield each file in a folder and below it, with the reason why it cannot be used, or ""."""
    status = os.stat(folder)
    here = (*above, (status.st_dev, status.st_ino))
    if here[-1] in above:  # a link to a folder that contains the link
        return
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _files_below(entry.path, here)
        else:
            yield image_file(entry.path)


def image_file(path: str, *, any_suffix: bool = False) -> tuple[ImageFile, str]:
    """Return the file of a path, and the reason why it cannot be used, or "".

    Args:
        path: the path.
        any_suffix: whether the name may end otherwise than in one of `SUFFIXES`.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        reason = "a broken link" if os.path.islink(path) else (error.strerror or str(error)).lower()
        return ImageFile(path, (0, 0, 0)), reason
    file = ImageFile(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    if not stat.S_ISREG(status.st_mode):
        return file, "it is no file"
    known = any_suffix or os.path.splitext(path)[1].lower() in SUFFIXES
    return file, "" if known else f"its name ends in none of {' '.join(SUFFIXES)}"


def _read_csv(path: Path, column: str | None) -> tuple[Found, dict[str, str]]:
    """Return the images that a CSV file names, and what is wrong with the other files that it names."""
    found: Found = []
    problems: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="")
            columns = list(reader.fieldnames or ())
            if not (needed := {"path", "label"} | ({column} if column else set())) <= set(columns):
                given = f"its first line is {','.join(columns)}" if columns else "it is empty"
                names = ["path", "label", *sorted(needed - {"path", "label"})]
                raise DataError(
                    f"data.path={path} needs the columns {', '.join(names[:-1])} and {names[-1]}, and {given}"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            f"data.path={path} cannot be read as CSV in UTF-8 ({reason_of(error)}); save it again"
        ) from error
    for line, row in rows:
        given = {key: str(value or "").strip() for key, value in row.items()}
        name, label, split = given["path"], given["label"], given.get("split", "train")
        for key in ("path", "label", *filter(None, [column])):
            if not given[key]:
                raise DataError(f"data.path={path} has no {key} in line {line}; add it")
        if split not in SPLITS:
            raise DataError(
                f"data.path={path} has the split {split!r} in line {line}; give one of {', '.join(SPLITS)}"
            )
        image, reason = image_file(os.path.join(path.parent, os.path.expanduser(name)), any_suffix=True)
        if reason:
            problems[name] = reason
        else:
            value = given[column] if column else ""
            found.append((unicodedata.normalize("NFC", label), SPLITS[split], image, value))
    return found, problems


def _shown(root: Path, path: str | Path) -> str:
    return os.path.relpath(path, root)
