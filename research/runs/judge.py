"""The scores of a trained network on images other than those of its run."""

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
from research.data.image_folder import decode_files
from research.data.listing import list_new_images, refuse_unknown_classes
from research.records.class_scores import count_confusions
from research.runs.card import wilson_interval
from research.runs.load import TrainedNetwork, load_trained
from research.runs.settings import run_settings
from research.training.evaluate import make_predict, predict_all
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
    predict = jax.jit(
        make_predict(trained.net, trained.preprocess, tta or trained.config.training.tta),
        compiler_options=for_few_calls(),
    )
    batch_size = min(BATCH_SIZE, len(split.labels))
    logits = predict_all(predict, trained.params, trained.model_state, split.images, batch_size)
    return Judgement(name, inputs.class_names, split.labels, logits)


def _decode_new(path: Path, inputs: InputSpec) -> Split:
    """Return the images of a folder or CSV file, resized to the size that the network reads."""
    listing = list_new_images(path, inputs.class_names)
    listing.refuse(listing.problems, hint="")
    files = listing.files["test"]
    shape = inputs.image_shape
    images, reasons = decode_files(
        [file.path for file, _ in files],
        lambda path: decode_image(path, shape, inputs.resizing),
        shape,
        f"decoding {path.name}",
    )
    damaged = {file.path: why for (file, _), why in zip(files, reasons, strict=True) if why}
    listing.refuse(damaged, hint="")
    return Split(images, np.array([label for _, label in files], np.int32))


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
    source, _ = images.read(cache_folder())
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
