"""Smaller and faster forms of trained networks as ONNX files, and what each costs in accuracy."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from research.data import DataError, Split
from research.data.decode import decode_image
from research.deploy.export import compare, stored_examples
from research.deploy.formats import EXPORT_FORMATS, load_onnx, metadata, write_onnx
from research.deploy.predict import find_images
from research.deploy.quantize import quantize_int8, quantize_weights, to_bfloat16
from research.records import Run, read_run
from research.runs.load import TrainedNetwork, load_data
from research.runs.settings import run_settings
from research.utils.constraints import OneOf
from research.utils.files import write_atomically
from research.utils.strict import ConfigError
from research.utils.timing import median_milliseconds

NUM_CALIBRATION = 512
"""The largest number of images on which the ranges of int8 activations are measured."""

BATCH_SIZES = (1, 64)
"""The numbers of images whose time is measured."""

FORMS: dict[str, Callable[[bytes, Callable[[], np.ndarray]], bytes]] = {
    "float32": lambda content, calibration: content,
    "bfloat16": lambda content, calibration: to_bfloat16(content),
    "int8": lambda content, calibration: quantize_int8(content, calibration()),
    "int8_weights": lambda content, calibration: quantize_weights(content),
}
"""Functions that convert an ONNX model in float32, by name.

The second argument of each is a function that returns the images of the calibration.
"""


class Cost(NamedTuple):
    """What the file of a network costs.

    Args:
        accuracy: the share of test images that are classified correctly; `None` without test images.
        bytes: the size of the file.
        milliseconds: the median time of a call in ONNX Runtime, by the number of images.
    """

    accuracy: float | None
    bytes: int
    milliseconds: dict[int, float]


def cost_of(content: bytes, trained: TrainedNetwork, test: Split | None) -> Cost:
    """Return the accuracy, the size and the time of an ONNX model.

    Args:
        content: the model.
        trained: the network that the model was exported from, or one on images of the same size.
        test: the test split, or `None`.
    """
    logits, accuracy = load_onnx(content, trained), None
    if test is not None:
        parts = [logits(test.images[start : start + 256]) for start in range(0, len(test.images), 256)]
        accuracy = float((np.concatenate(parts).argmax(-1) == test.labels).mean())
    shape, rng = trained.inputs.image_shape, np.random.default_rng(0)
    images = {size: rng.integers(0, 256, (size, *shape), np.uint8) for size in BATCH_SIZES}
    times = {size: median_milliseconds(partial(logits, batch)) for size, batch in images.items()}
    return Cost(accuracy, len(content), times)


def calibration_images(run: Run, trained: TrainedNetwork, folder: str | Path | None) -> np.ndarray:
    """Return images on which the ranges of activations are measured, uint8 `[N, H, W, C]`.

    Args:
        run: the record of the run, whose training images are taken if no folder is given.
        trained: the network of the run.
        folder: a folder of images, or `None`.

    Raises:
        ConfigError: an image in the folder cannot be read.
        FileNotFoundError: the folder holds no image.
        The errors of `load_data`.
    """
    if folder is None:
        images = load_data(run).train.images
        return images[np.linspace(0, len(images) - 1, min(len(images), NUM_CALIBRATION)).astype(int)]
    if not Path(folder).is_dir():
        raise ConfigError(f"--calibrate={folder} is not allowed; give a folder of images")
    decoded = []
    for path in find_images([folder])[:NUM_CALIBRATION]:
        try:
            decoded.append(decode_image(path, trained.inputs.image_shape, trained.inputs.resizing))
        except (ValueError, OSError) as error:
            raise ConfigError(
                f"--calibrate={folder} is not allowed: {path} cannot be read: {error}"
            ) from error
    return np.stack(decoded)


@run_settings()
def compress(
    trained: TrainedNetwork,
    folder: str | Path,
    form: str,
    *,
    calibrate: str | Path | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Write a smaller form of a trained network as an ONNX file, and a report of its cost beside the file.

    Args:
        trained: the network. `load_ensemble` and `prune_trained` return such networks.
        folder: the folder of a run on the same images, whose dataset serves for calibration and accuracy.
        form: a name in `FORMS`.
        calibrate: a folder of images for the calibration of int8; `None` takes training images of the run.
        out: the folder of the file; `None` is the folder `export` of the run.

    Returns:
        The content of the report, and under `path` the path of the file. `before` and `after` are the `Cost`
        of the network in float32 and of the file. `checks` says how far the logits of the file are from those
        of the network, as `compare` returns it. `accuracy` is null if the dataset of the run is not here.

    Raises:
        ConfigError: the form is unknown or needs no calibration, a package is not installed, or an image
            cannot be read.
        RecordError: an earlier version made the run, and stored no images.
        The errors of `load_data`, if int8 is calibrated on training images.
    """
    if form not in FORMS:
        raise ConfigError(f"--to={form} is not allowed; give {OneOf(FORMS)}")
    if calibrate is not None and form != "int8":
        raise ConfigError(
            f"--calibrate={calibrate} is not allowed with --to={form}, which needs no calibration; leave it "
            "out"
        )
    refuse_without_packages()
    run = read_run(folder)
    examples = stored_examples(run)
    try:
        test = load_data(run).test
    except DataError:
        test = None
    content = write_onnx(trained)
    smaller = convert(content, trained, form, lambda: calibration_images(run, trained, calibrate))
    report = {
        "file": f"model_{form}.onnx",
        "bytes": len(smaller),
        "sha256": hashlib.sha256(smaller).hexdigest(),
        "run": str(folder),
        "before": cost_of(content, trained, test)._asdict(),
        "after": cost_of(smaller, trained, test)._asdict(),
        "checks": compare(load_onnx(smaller, trained), trained, examples),
    }
    out = Path(folder) / "export" if out is None else Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{report['file']}.check.json", json.dumps(report, indent=2).encode())
    write_atomically(out / report["file"], smaller)
    return report | {"path": out / report["file"]}


def refuse_without_packages() -> None:
    """Raise a `ConfigError` if a package that compression needs is not installed."""
    if missing := [name for name in EXPORT_FORMATS["onnx"].packages if find_spec(name) is None]:
        raise ConfigError(f"compress needs {', '.join(missing)}: pip install 'cnn-research[export]'")


def convert(
    content: bytes, trained: TrainedNetwork, form: str, calibration: Callable[[], np.ndarray]
) -> bytes:
    """Return an ONNX model in another form, with the metadata of an exported model.

    Args:
        content: the model in float32.
        trained: the network that the model was exported from.
        form: a name in `FORMS`.
        calibration: a function that returns the images of the calibration.
    """
    import onnx

    model = onnx.load_from_string(FORMS[form](content, calibration))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata(trained))
    return model.SerializeToString()
