"""Look at images before training: classes, sizes, damaged files, duplicates, and a sheet of samples.

Examples:
    cnn-research inspect-data photos --image-size 64 64
    cnn-research inspect-data mnist --augmentation mnist
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.cli.arguments import Arguments
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError, DataConfig, with_recipe
from research.data import DATASETS, RECIPES, RESIZINGS, DataError, Inspection, Preprocess, inspect_images
from research.studies.figures.style import canvas, label
from research.studies.report.text_table import Table
from research.training.mixing import mix_images
from research.utils.files import made_folder
from research.utils.strict import construct

SHOWN = 10
"""The largest number of classes, files and pairs that are printed, and of classes that are drawn."""

SAMPLES = 8


def config_of(arguments: Any) -> DataConfig:
    """Return the images that the command line names.

    Raises:
        ConfigError: there is no such dataset, folder or file.
    """
    name = arguments.data
    common = {"dir": arguments.dir, "image_size": arguments.image_size, "resizing": arguments.resizing}
    if name in DATASETS:
        return construct(DataConfig, {"name": name, "dir": arguments.dir}, "data")
    if name.lower().endswith(".npz"):
        return construct(DataConfig, {"source": "npz", "path": name}, "data")
    if Path(name).expanduser().exists():
        values = common | {"source": "folder", "path": name, "skip_damaged": True}
        values["image_size"] = arguments.image_size or (64, 64)
        return construct(DataConfig, values | {"channels": arguments.channels}, "data")
    config = construct(DataConfig, common | {"source": "tfds", "name": name}, "data")
    try:
        config.images.locate()
    except DataError:
        raise ConfigError(
            f"{name} is no folder, CSV file or npz file, and no dataset; give a path, the name of a prepared "
            f"dataset, or one of {', '.join(sorted(DATASETS))}"
        ) from None
    return config


def text_of(found: Inspection) -> str:
    """Return what is known about the images, as lines of text."""
    counts, total = found.counts(), np.bincount(found.labels, minlength=len(found.class_names))
    sizes = [f"{height}x{width} ({count})" for (height, width), count in found.sizes[:3]]
    more = len(found.sizes) - len(sizes)
    kind = {"train": "training", "test": "test"}[found.main_split]
    lines = [
        f"{found.name}: {len(found.labels)} images in {len(found.class_names)} classes",
        f"height and width: {', '.join(sizes)}" + (f", and {more} other sizes" if more else ""),
        f"mean {_numbers(found.mean)} and deviation {_numbers(found.std)} of the {kind} images",
        "",
    ]
    order = np.argsort(-total, kind="stable")
    shown = order if len(order) <= 2 * SHOWN else [*order[:SHOWN], *order[-SHOWN:]]
    rows = [(found.class_names[i], *(str(counts[s][i]) for s in counts), str(total[i])) for i in shown]
    if len(shown) < len(order):
        rows.insert(SHOWN, (f"... {len(order) - len(shown)} more", "", "", "", ""))
    lines += [str(Table(("class", *counts, "all"), rows)), ""]
    if found.left_out:
        named = [f"{name} ({reason})" for name, reason in found.left_out.items()]
        lines += [f"files that cannot be used: {len(named)}", *(f"  {each}" for each in named)]
    for what, pairs in (
        ("pairs of equal or nearly equal images", found.pairs()),
        ("of these, pairs between the test split and the others (leakage)", found.leaks()),
        ("of these, pairs with different classes", found.contradictions()),
    ):
        lines += [f"{what}: {len(pairs)}"]
        lines += [f"  {found.names[i]} and {found.names[j]}" for i, j in pairs[:SHOWN]]
        lines += [f"  and {len(pairs) - SHOWN} more"] if len(pairs) > SHOWN else []
    return "\n".join(lines)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def draw_samples(found: Inspection, path: Path) -> None:
    """Draw eight random images of `found.main_split` of each of up to ten classes."""
    rng, rows, names = np.random.default_rng(0), [], []
    for index, name in list(enumerate(found.class_names))[:SHOWN]:
        members = np.flatnonzero((found.labels == index) & (found.splits == found.main_split))
        chosen = rng.permutation(members)[:SAMPLES]
        row = np.full((SAMPLES, *found.parts[0].shape[1:]), 255, np.uint8)
        if len(chosen):
            row[: len(chosen)] = found.pixels(chosen)
        rows.append(row)
        names.append(name)
    _draw_sheet(np.stack(rows), names, path)


def draw_classes(found: Inspection, path: Path) -> None:
    """Draw the number of images of each class in each split."""
    counts = found.counts()
    order = np.argsort(-np.bincount(found.labels, minlength=len(found.class_names)), kind="stable")
    width = min(max(4.0, 0.3 * len(order)), 12.0)
    with canvas(1, 1, (width, 3.2)) as (figure, axes):
        axis, bottom = axes[0, 0], np.zeros(len(order))
        for split, numbers in counts.items():
            axis.bar(np.arange(len(order)), numbers[order], bottom=bottom, width=0.8, label=split)
            bottom += numbers[order]
        axis.set_ylabel("images")
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
        if len(order) <= 4 * SHOWN:
            axis.set_xticks(np.arange(len(order)), [label(found.class_names[i]) for i in order], rotation=90)
        else:
            axis.set_xlabel("classes, from the largest")
        figure.savefig(path, dpi=100)


def draw_augmented(found: Inspection, recipe: str, path: Path) -> None:
    """Draw eight variants of eight images of `found.main_split`, each beside the image itself.

    Args:
        found: the images.
        recipe: the name of a list of augmentations.
        path: path of the picture.

    Raises:
        ConfigError: an augmentation does not fit the images.
    """
    augmentations = construct(DataConfig, with_recipe({"augmentation": recipe})["data"], "data").augmentations
    _, *size, channels = found.parts[0].shape
    try:
        preprocess = Preprocess((0.0,) * channels, (1.0,) * channels, augmentations)
    except ValueError as error:
        raise ConfigError(f"--augmentation={recipe} is not allowed: {error}") from error
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(found.splits == found.main_split))[:SAMPLES]
    images = jnp.asarray(found.pixels(chosen))
    columns = [np.asarray(preprocess(images))]
    for key in jax.random.split(jax.random.key(0), SAMPLES):
        variants = preprocess(images, keys=jax.random.split(key, len(chosen)))
        if preprocess.mixing is not None:
            weights = preprocess.mixing(key, *size)
            variants = mix_images(variants, jnp.roll(variants, 1, axis=0), weights)
        columns.append(np.asarray(variants))
    sheet = np.rint(255 * np.clip(np.stack(columns, axis=1), 0, 1)).astype(np.uint8)
    _draw_sheet(sheet, [found.class_names[i] for i in found.labels[chosen]], path)


def _draw_sheet(images: np.ndarray, names: list[str], path: Path) -> None:
    """Draw rows of images `[rows, columns, H, W, C]` with a name before each row."""
    rows, columns, height, width, channels = images.shape
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(rows * (height + 2), columns * (width + 2), channels)
    with canvas(1, 1, (0.8 * columns + 1.2, 0.8 * rows * height / width + 0.2)) as (figure, axes):
        axis = axes[0, 0]
        axis.imshow(np.broadcast_to(sheet, (*sheet.shape[:2], 3)), interpolation="nearest")
        axis.set_yticks((np.arange(rows) + 0.5) * (height + 2), [label(name) for name in names])
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        figure.savefig(path, dpi=100)


def command() -> int:
    """Print what is known about the images on the command line, and draw pictures of them."""
    parser = Arguments(__doc__)
    parser.add_argument("data", metavar="DATA", help="folder, CSV file, npz file or name of a dataset")
    parser.add_argument("--image-size", type=int, nargs=2, metavar=("H", "W"), help="as data.image_size")
    parser.add_argument("--resizing", choices=RESIZINGS, default="crop", help="as data.resizing")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=3, help="as data.channels")
    parser.add_argument("--dir", help="folder of prepared datasets, as data.dir")
    parser.add_argument("--augmentation", choices=sorted(RECIPES), help="also draw augmented images")
    parser.add_argument("--out", type=Path, default=Path("inspect-data"), help="folder of the pictures")
    arguments = parser.parse_args()
    config = config_of(arguments)
    if config.path and arguments.out.resolve().is_relative_to(Path(config.path).resolve()):
        raise ConfigError(f"--out={arguments.out} is not allowed, because it is a part of {config.path}")
    try:
        with made_folder(arguments.out):  # this only checks that the folder can be made
            pass
    except OSError as error:
        raise ConfigError(
            f"--out={arguments.out} cannot be written: {error.strerror}; give a folder"
        ) from error
    try:
        found = inspect_images(config.images)
    except DataError:
        raise
    except ValueError as error:  # its message begins with the key
        raise ConfigError(f"data.{error}") from error
    print(text_of(found))
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = {"samples": draw_samples, "classes": draw_classes}
    for name, draw in pictures.items():
        draw(found, arguments.out / f"{name}.png")
    if arguments.augmentation:
        draw_augmented(found, arguments.augmentation, arguments.out / "augmented.png")
    print(f"pictures {arguments.out}")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
