"""The measurements of a run with the parameters that it kept, and the arrays for the figures."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from research import records
from research.data import Dataset
from research.layers import Sequential
from research.parallel.distributed import is_writer, num_processes
from research.records.class_scores import balanced_scores, count_confusions
from research.training import checkpoint
from research.training.evaluate import measure, most_confident_mistakes, predict_all
from research.training.fit import FitResult
from research.training.program import Program
from research.training.resume import FINAL
from research.utils.strict import to_plain

NUM_MISTAKES = 24
"""Number of wrong predictions whose images a run saves."""

NUM_EXAMPLES = 64
"""Number of evenly spaced test images that a run saves, to verify exports of its network."""


class Measured(NamedTuple):
    """The measurements of a run with the parameters that it kept; `None` if the run did not complete."""

    test_accuracy: float | None = None
    test_loss: float | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None


def count_and_score(dataset: Dataset, logits: np.ndarray | None) -> dict[str, float]:
    """Return the number of images in each split, and the scores that do not depend on the sizes of classes.

    Args:
        dataset: the data of the run.
        logits: the logits `[N, K]` of the test split, or `None` if the run has none.
    """
    found: dict[str, float] = {
        f"num_{name}": len(getattr(dataset, name).labels) for name in ("train", "validation", "test")
    }
    if logits is None:
        return found
    counts = count_confusions(dataset.test.labels, logits.argmax(-1), dataset.num_classes)
    return found | balanced_scores(counts)


def measure_run(
    folder: Path, program: Program, net: Sequential, fitted: FitResult, dataset: Dataset, *, trial: bool
) -> tuple[Measured, np.ndarray | None]:
    """Evaluate the kept parameters once on the test split, save them, and save the arrays for the figures.

    Args:
        folder: the folder of the run.
        program: the program of the run.
        net: the network of the run.
        fitted: the result of the training.
        dataset: the data of the run.
        trial: whether the run is a trial of the tuning, or learns one batch. The validation split decides
            between trials, so a trial never reads the test split, and saves nothing.

    Returns:
        The measurements, and the logits `[N, K]` of the test split if they were computed.
    """
    params, model_state = fitted.params, fitted.model_state
    if fitted.status != "completed" or params is None or model_state is None:
        return Measured(), None
    chosen = fitted.history[fitted.best_epoch - 1]
    measured = Measured(None, None, chosen.validation_accuracy, chosen.validation_loss)
    if trial:
        return measured, None
    images, batch_size = dataset.test.images, program.eval_batch_size
    logits = predict_all(program.predict, params, model_state, images, batch_size)
    loss, accuracy = measure(logits, dataset.test.labels)
    measured = measured._replace(test_accuracy=accuracy, test_loss=loss)
    if num_processes() > 1:
        params, model_state = jax.device_get(program.whole((params, model_state)))
    if not is_writer():
        return measured, logits
    kept = {"params": params, "model_state": model_state}
    meta = {"sha256": checkpoint.checksum(kept), "inputs": to_plain(dataset.inputs)}
    checkpoint.save(folder / "checkpoints" / FINAL, kept, meta)
    image = dataset.test.images[:1]
    arrays = {"test_logits": logits, "test_labels": dataset.test.labels, "image": image[0]}
    spaced = np.linspace(0, len(images) - 1, min(len(images), NUM_EXAMPLES)).astype(int)
    arrays["example_images"] = images[spaced]
    mistakes = most_confident_mistakes(logits, dataset.test.labels, NUM_MISTAKES)
    arrays |= {"mistakes": mistakes, "mistake_images": images[mistakes]}
    kernels = [params[name]["kernel"] for name, _ in net.layers if "kernel" in params.get(name, {})]
    if kernels and kernels[0].ndim == 4:
        arrays["first_kernels"] = np.asarray(kernels[0])
    activations = program.trace(params, model_state, image)
    order = [name for name, _ in net.layers]  # jit returns a dict in the order of its sorted keys
    for name in sorted(activations, key=lambda name: order.index(name.partition("/")[0])):
        if activations[name].ndim == 4:
            arrays[f"feature_map/{name}"] = np.asarray(activations[name])[0]
    records.write_arrays(folder, arrays)
    return measured, logits
