"""Predict the classes of images with the network of a finished run.

Each image is resized as in training. A folder stands for the images in it and below it, and - for the
paths on standard input, one a line. The exit code is 1 if an image could not be read.

Examples:
    cnn-research predict outputs/x photos/*.jpg
    cnn-research predict outputs/x photos --format csv --top 1
    cnn-research predict outputs/a photos --with outputs/b outputs/c
    find photos -name '*.png' | cnn-research predict outputs/x - --format json
"""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from research import records
from research.cli.arguments import Arguments, add_others, check_choice
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.deploy.predict import Prediction, Predictor, find_images
from research.training.tta import TTA
from research.utils.constraints import OneOf


def command() -> int:
    """Print the predictions for the images on the command line."""
    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image file, folder of images, or -")
    parser.add_argument("--format", default="table", help=f"form of the output: {OneOf(WRITERS)}")
    parser.add_argument("--top", type=int, default=3, help="number of most probable classes to print")
    parser.add_argument("--tta", help=f"test-time augmentation instead of the run's: {OneOf(TTA)}")
    add_others(parser)
    arguments = parser.parse_args()
    check_choice("--format", arguments.format, WRITERS)
    check_choice("--tta", arguments.tta, TTA)
    if arguments.top < 1:
        raise ConfigError(f"--top={arguments.top} is not allowed; give a whole number, at least 1")
    records.read_run(arguments.run)  # the arguments may be in the wrong order, and then this is no run
    paths = find_images(list(_with_standard_input(arguments.images)))
    if not paths:
        raise ConfigError("standard input holds no path; give one path a line")
    predictor = Predictor.from_run(arguments.run, arguments.tta, others=arguments.others)
    predictions = predictor(paths, arguments.top)
    print(WRITERS[arguments.format](predictions))
    return int(any(each.error for each in predictions))


def _with_standard_input(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths, and those on standard input in place of `-`."""
    for path in paths:
        if path != "-":
            yield path
            continue
        for line in sys.stdin.buffer:
            if name := line.rstrip(b"\r\n"):
                yield os.fsdecode(name)


def _table(predictions: Sequence[Prediction]) -> str:
    """Return a table with a line for each image. Its last column has the next classes, or the error."""
    rows = [("path", "class", "probability", "next")]
    for each in predictions:
        others = ", ".join(f"{name} {probability:.4f}" for name, probability in each.top[1:])
        probability = "-" if each.probability is None else f"{each.probability:.4f}"
        rows.append((str(each.path), each.class_name or "-", probability, each.error or others))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _csv(predictions: Sequence[Prediction]) -> str:
    """Return the text of a CSV file, with two columns for each further class."""
    num_classes = max(len(each.top) for each in predictions) or 1
    others = [f"{name}_{rank}" for rank in range(2, num_classes + 1) for name in ("class", "probability")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "class", "probability", *others, "error"])
    for each in predictions:
        pairs = each.top or ((None, None),) * num_classes
        writer.writerow([each.path, *(value for pair in pairs for value in pair), each.error])
    return text.getvalue().removesuffix("\n")


def _json(predictions: Sequence[Prediction]) -> str:
    """Return the text of one list, with an object for each image."""
    return json.dumps([each.to_dict() for each in predictions], indent=2)


WRITERS = {"table": _table, "csv": _csv, "json": _json}
"""The functions that turn predictions into text, by the name that `--format` gives."""


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
