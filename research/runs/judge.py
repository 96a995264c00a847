"""The scores of a trained network on the test split of its run, or on other images."""

import os
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from research.data import (
    DATASETS,
    DataError,
    ImageSource,
    InputSpec,
    NpzImages,
    Split,
    TableImages,
    TfdsImages,
    cache_folder,
)
from research.data.decode import decode_image
from research.data.image_folder import ReadFiles, decode_files, fits
from research.data.listing import list_new_images, refuse_unknown_classes
from research.data.stored import StoredImages
from research.records import read_run
from research.records.class_scores import balanced_scores, count_confusions
from research.runs.build import eval_batch_size
from research.runs.card import wilson_interval
from research.runs.load import TrainedNetwork, load_data, load_trained
from research.runs.provenance import refuse_other_flags
from research.runs.settings import run_settings
from research.training.evaluate import make_predict, measure, predict_all
from research.utils.xla import for_few_calls

BATCH_SIZE = 500
"""The largest number of images of a batch."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """How well a network classifies some images.

    Args:
        name: the name of the images.
        class_names: the classes of the network.
        labels: the label of each image among these classes, `[N]`.
        logits: the logits of each image, `[N, K]`.
    """

    name: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The confusion counts `[K, K]`: how often class i (row) was predicted as class j (column)."""
        return count_confusions(self.labels, self.logits.argmax(-1), len(self.class_names))

    @property
    def accuracy(self) -> float:
        """The share of images that are classified correctly, in [0, 1]."""
        return float(np.mean(self.logits.argmax(-1) == self.labels))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the accuracy of this network on images of the same kind."""
        return wilson_interval(int(np.trace(self.counts)), len(self.labels))

    @property
    def scores(self) -> dict[str, float]:
        """The scores by their names in `result.json`."""
        loss, accuracy = measure(self.logits, self.labels)
        return {"test_loss": loss, "test_accuracy": accuracy} | balanced_scores(self.counts)


@run_settings()
def judge_test_split(
    run: str | Path, tta: str | None = None, network: TrainedNetwork | None = None
) -> Judgement:
    """Return how well the network of a finished run classifies its test split.

    Args:
        run: the folder of the run.
        tta: the test-time augmentation, a name in `TTA`; `None` takes that of the run.
        network: another network on images of this size, such as an ensemble; `None` is that of the run.

    Raises:
        RecordError: the run was made with other flags of XLA.
        The other errors of `load_trained` and `load_data`.
    """
    record = read_run(run)
    dataset, trained = load_data(record), load_trained(record) if network is None else network
    refuse_other_flags(record.path, record.outcome)
    logits = _logits(trained, dataset.test, eval_batch_size(trained.config, dataset), tta)
    return Judgement(dataset.name, dataset.class_names, dataset.test.labels, logits)


@run_settings()
def judge(
    run: str | Path,
    data: str | Path,
    *,
    data_dir: str | Path | None = None,
    tta: str | None = None,
    network: TrainedNetwork | None = None,
) -> Judgement:
    """Return how well the network of a finished run classifies other images. Classes are matched by name.

    Args:
        run: the folder of the run.
        data: a folder, CSV file or npz file of images, a name in `DATASETS`, or the name of a prepared
            dataset of TFDS. If the images have a test split, only this split is classified.
        data_dir: the folder of prepared datasets, which is `default_data_dir()` if not given.
        tta: the test-time augmentation, a name in `TTA`; `None` takes that of the run.
        network: another network on images of this size, such as an ensemble; `None` is that of the run.

    Raises:
        DataError: the images are missing or damaged, the network does not know one of their classes, or they
            are arrays of another size than the network reads. Image files are resized.
        The errors of `load_trained`.
    """
    trained = load_trained(run) if network is None else network
    inputs, path = trained.inputs, Path(data).expanduser()
    if str(data) not in DATASETS and path.exists() and path.suffix.lower() != ".npz":
        split, name = _decode_new(path, inputs), path.name
    else:
        split, name = _read_test_split(str(data), inputs, data_dir)
    logits = _logits(trained, split, min(BATCH_SIZE, len(split.labels)), tta)
    return Judgement(name, inputs.class_names, split.labels, logits)


def _logits(trained: TrainedNetwork, split: Split, batch_size: int, tta: str | None) -> np.ndarray:
    predict = jax.jit(
        make_predict(trained.net, trained.preprocess, tta or trained.config.training.tta),
        compiler_options=for_few_calls(),
    )
    return predict_all(predict, trained.params, trained.model_state, split.images, batch_size)


def _decode_new(path: Path, inputs: InputSpec) -> Split:
    """Return the images of a folder or CSV file, resized to the size that the network reads."""
    listing = list_new_images(path, inputs.class_names)
    listing.refuse(listing.problems, hint="")
    files = listing.files["test"]
    paths, labels = [file.path for file, _ in files], np.array([label for _, label in files], np.int32)
    shape = inputs.image_shape
    if not fits(len(files), shape, None):
        reader = ReadFiles(path, listing.root, tuple(paths), shape, inputs.resizing)
        return Split(StoredImages(reader, np.arange(len(files)), shape), labels)
    images, reasons = decode_files(
        paths, lambda path: decode_image(path, shape, inputs.resizing), shape, f"decoding {path.name}"
    )
    shown = (os.path.relpath(each, listing.root) for each in paths)
    listing.refuse({name: why for name, why in zip(shown, reasons, strict=True) if why}, hint="")
    return Split(images, labels)


def _read_test_split(data: str, inputs: InputSpec, data_dir: str | Path | None) -> tuple[Split, str]:
    """Return the test split of a dataset, or all images if it has none, and its name."""
    images: ImageSource
    if data in DATASETS:
        images = TableImages(data, data_dir)
    elif data.lower().endswith(".npz"):
        images = NpzImages(data)
    else:
        images = TfdsImages(data, data_dir, inputs.image_shape[:2], inputs.resizing)
        try:
            images.locate()
        except DataError as error:
            raise DataError(
                f"{data} is no folder, CSV file or npz file, and no dataset; give a path, the name of a "
                f"prepared dataset, or one of {', '.join(sorted(DATASETS))}"
            ) from error
    source, _ = images.read(cache_folder(), in_memory=None)
    split = source.test or source.train
    if split.images.shape[1:] != inputs.image_shape:
        sizes = ["x".join(map(str, shape)) for shape in (split.images.shape[1:], inputs.image_shape)]
        raise DataError(
            f"{data} has images of {sizes[0]} (height, width, channels), and the network reads {sizes[1]}; "
            "give image files, which are resized"
        )
    found = {source.class_names[label] for label in np.unique(split.labels)}
    refuse_unknown_classes(images.name, found, inputs.class_names)
    labels = [inputs.class_names.index(name) if name in found else -1 for name in source.class_names]
    return Split(split.images, np.array(labels, np.int32)[split.labels]), images.name
