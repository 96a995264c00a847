"""Export of a trained network to a file for other programs, verified before it is kept."""

import hashlib
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from research import records
from research.data import decode
from research.deploy.fold import fold_batch_norm
from research.deploy.formats import EXPORT_FORMATS, PLATFORMS, Logits
from research.layers import State
from research.layers.base import by_path
from research.runs.load import TrainedNetwork, load_trained
from research.runs.settings import run_settings
from research.training.evaluate import make_predict
from research.utils.constraints import OneOf
from research.utils.files import write_atomically
from research.utils.strict import ConfigError, to_plain

TOLERANCES = {"float32": 1e-5, "bfloat16": 1e-2}
"""The largest difference of logits, as a fraction of the largest logit, by the dtype of a run."""

NUM_NOISE = 64
"""The number of images of noise on which an export is verified."""


class ExportError(ConfigError):
    """An exported network does not compute what the network of the run computes."""


@run_settings()
def export(folder: str | Path, format: str, out: str | Path | None = None) -> dict[str, Any]:
    """Export the network of a completed run to a file, and write the report of its verification beside it.

    The logits of the file and of the run are compared on the test images that the run stored and on images
    of noise. If they differ, no file is written. `onnx` also writes `example.py`.

    Args:
        folder: the folder of the run.
        format: a name in `EXPORT_FORMATS`.
        out: the folder of the files; `None` is the folder `export` of the run.

    Returns:
        The content of the report, and under `path` the path of the file.

    Raises:
        ConfigError: the format is unknown, or it needs a package that is not installed.
        ExportError: the logits of the file differ from those of the run.
        RecordError: the run did not complete, or holds no test images.
        CheckpointError: its parameters are missing or damaged.
    """
    folder = Path(folder)
    out = folder / "export" if out is None else Path(out)
    if format not in EXPORT_FORMATS:
        raise ConfigError(f"--format={format} is not allowed; give {OneOf(EXPORT_FORMATS)}")
    chosen = EXPORT_FORMATS[format]
    if missing := [name for name in chosen.packages if find_spec(name) is None]:
        raise ConfigError(f"--format={format} needs {', '.join(missing)}: pip install 'cnn-research[export]'")
    trained = load_trained(folder)
    examples = stored_examples(records.read_run(folder))
    # the default precision of accelerators differs from that of ONNX Runtime by more than the tolerance
    with jax.default_matmul_precision("highest"):
        content = chosen.write(trained)
        checks = compare(chosen.load(content, trained), trained, examples)
    tolerance = TOLERANCES[trained.preprocess.dtype]
    for name, check in checks.items():
        if not check["relative_difference"] <= tolerance:  # NaN must fail, too
            raise ExportError(
                f"the logits of {chosen.file} differ from those of {folder} by "
                f"{check['relative_difference']:.1e} of the largest logit on {name}, more than "
                f"{tolerance:.0e}; no file was written"
            )
    report = {
        "file": chosen.file,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "run": str(folder),
        "model": to_plain(trained.config.model),
        "inputs": to_plain(trained.inputs),
        "tta": trained.config.training.tta,
        "tolerance": tolerance,
        "checks": checks,
        "executed_on": "cpu" if format == "onnx" else jax.default_backend(),
        "versions": {name: version(name) for name in ("jax", "numpy", *chosen.packages)},
    }
    if format != "safetensors":
        kept = fold_batch_norm(trained.net, trained.params, trained.model_state)[2]
        norms = {"folded": num_batch_norms(trained.model_state) - num_batch_norms(kept)}
        report |= {"algorithm": "lax", "batch_norms": norms | {"kept": num_batch_norms(kept)}}
    if format == "stablehlo":
        report["platforms"] = PLATFORMS
    out.mkdir(parents=True, exist_ok=True)
    if format == "onnx":
        write_atomically(out / "example.py", example_program().encode())
    write_atomically(out / f"{chosen.file}.check.json", json.dumps(report, indent=2).encode())
    write_atomically(out / chosen.file, content)
    return report | {"path": out / chosen.file}


def stored_examples(run: records.Run) -> np.ndarray:
    """Return the test images `[N, H, W, C]` that a run stored, uint8.

    Raises:
        RecordError: an earlier version made the run, and stored no images.
    """
    examples = run.arrays().get("example_images")
    if examples is None:
        raise records.RecordError(
            f"{run.path} holds no example_images in arrays.npz, on which an export is verified; an earlier "
            "version did not store them, so train the run again"
        )
    return examples


def compare(logits: Logits, trained: TrainedNetwork, examples: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return how far the logits of an exported network are from those of the network of the run.

    Args:
        logits: the exported network.
        trained: the network of the run.
        examples: test images `[N, H, W, C]`, uint8.

    Returns:
        For the test images and for images of noise: their number, the largest difference of a logit, the
        same as a fraction of the largest logit, and the fraction of images with the same class.
    """
    predict = jax.jit(make_predict(trained.net, trained.preprocess, trained.config.training.tta))
    noise = np.random.default_rng(0).integers(0, 256, (NUM_NOISE, *examples.shape[1:]), np.uint8)
    checks = {}
    for name, images in (("the test split", examples), ("noise", noise)):
        expected = np.asarray(predict(trained.params, trained.model_state, images))
        found = np.concatenate([logits(images[:1]), logits(images[1:])])  # the file takes any number
        difference, largest = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        checks[name] = {
            "images": len(images),
            "largest_difference": difference,
            "relative_difference": difference / largest,
            "same_class": float((found.argmax(-1) == expected.argmax(-1)).mean()),
        }
    return checks


def num_batch_norms(state: State) -> int:
    """Return the number of batch normalisations whose running averages are in a state."""
    return sum(name.endswith("/variance") for name in by_path(state))


def example_program() -> str:
    """Return the text of a program that runs `model.onnx` and needs neither JAX nor this package."""
    text = Path(__file__).with_name("example.py").read_text(encoding="utf-8")
    _, _, decoding = Path(decode.__file__).read_text(encoding="utf-8").split('"""', 2)
    return text.replace("from research.data.decode import decode_image\n", decoding.lstrip())
