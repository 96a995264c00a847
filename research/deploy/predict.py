"""Predictions of a trained network for image files and arrays of pixels."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.special import softmax

from research.data import InputSpec
from research.data.decode import FORMATS, decode_image, resize_image
from research.deploy.compile import BATCH_SIZES, compile_inference
from research.deploy.ensemble import load_ensemble
from research.deploy.formats import Logits
from research.runs.settings import run_settings
from research.utils.cpus import num_cpus
from research.utils.errors import reason_of
from research.utils.xla import for_few_calls

Input = str | Path | BytesIO | BufferedReader | np.ndarray
"""The path of an image file, an open image file, or pixels `[H, W, C]` (uint8) of any size."""


class Prediction(NamedTuple):
    """The prediction for one image.

    Args:
        path: the path of the image file; `None` if the image is no path.
        class_name: the name of the most probable class; `None` if there is an error.
        probability: the probability of that class, in [0, 1]; `None` if there is an error.
        top: the most probable classes with their probabilities, the most probable first.
        error: why the image has no prediction; `None` if it has one.
    """

    path: str | None
    class_name: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dict with the keys `path`, `class`, `probability`, `top` and `error`."""
        top = [{"class": name, "probability": probability} for name, probability in self.top]
        return {
            "path": self.path,
            "class": self.class_name,
            "probability": self.probability,
            "top": top,
            "error": self.error,
        }


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network that predicts the classes of images of any size.

    Args:
        inputs: the shape of the images, the names of the classes, and how images are resized.
        logits: a function from pixels `[N, H, W, C]` (uint8) to logits `[N, K]`, where N is at most
            `batch_size`.
        batch_size: the largest number of images in a batch.

    Example:
        >>> import jax.numpy as jnp
        >>> inputs = InputSpec((2, 2, 1), ("dark", "bright"), mean=(0.5,), std=(0.25,))
        >>> predictor = Predictor(inputs, lambda x: jnp.mean(x / 127.5 - 1, (1, 2)) * jnp.array([-9, 9]))
        >>> [each.class_name for each in predictor([np.zeros((8, 6, 1), np.uint8)])]
        ['dark']
    """

    inputs: InputSpec
    logits: Logits
    batch_size: int = BATCH_SIZES[-1]

    @classmethod
    def from_run(
        cls,
        folder: str | Path,
        tta: str | None = None,
        batch_sizes: Sequence[int] = BATCH_SIZES[-1:],
        others: Sequence[str | Path] = (),
    ) -> "Predictor":
        """Return the predictor of a completed run, or of several runs together, after compiling the network.

        Args:
            folder: the folder of the run.
            tta: the test-time augmentation, a name in `TTA`; `None` takes that of the run.
            batch_sizes: the numbers of images for which a program is compiled, from small to large.
            others: the folders of further runs; the probabilities of all runs are averaged.

        Raises:
            ConfigError: the runs do not fit together.
            FileNotFoundError: the folder is not a run.
            RecordError: the run did not complete.
            CheckpointError: its parameters are missing or damaged.
        """
        with run_settings():
            trained = load_ensemble([folder, *others], tta=tta)
            logits = compile_inference(trained, batch_sizes, tta, for_few_calls())
        return cls(trained.inputs, logits, batch_sizes[-1])

    def __call__(self, images: Iterable[Input], top: int = 3) -> list[Prediction]:
        """Return a prediction for each image, in their order.

        Args:
            images: the images. An array `[N, H, W, C]` (uint8) is a sequence of images, too.
            top: the number of most probable classes in a prediction.
        """
        return list(self.stream(images, top))

    def stream(self, images: Iterable[Input], top: int = 3) -> Iterator[Prediction]:
        """Yield what `__call__` returns, while at most one batch of images is in memory."""
        remaining = iter(images)
        with ThreadPoolExecutor(num_cpus()) as pool:
            while batch := list(islice(remaining, self.batch_size)):
                pixels = np.zeros((len(batch), *self.inputs.image_shape), np.uint8)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow warns of odd metadata in images that it decodes
                    errors = list(pool.map(self._decode, batch, pixels))
                probabilities = softmax(np.asarray(self.logits(pixels), np.float64), axis=-1)
                for image, error, row in zip(batch, errors, probabilities, strict=True):
                    path = os.fspath(image) if isinstance(image, str | Path) else None
                    yield self.name(top, path, row) if error is None else Prediction(path, error=error)

    def decode(self, image: Input) -> np.ndarray:
        """Return the pixels `[H, W, C]` (uint8) of an image, resized as in training.

        Raises:
            ValueError: the image is damaged, or it is an array of another shape or dtype than `Input` allows.
            OSError: the file cannot be opened.
        """
        if isinstance(image, np.ndarray):
            return self._resized(image)
        return decode_image(image, self.inputs.image_shape, self.inputs.resizing)

    def name(self, top: int, path: str | None, probabilities: np.ndarray) -> Prediction:
        """Return the prediction that the probabilities `[K]` of an image give.

        Args:
            top: the number of most probable classes in the prediction.
            path: the path of the image file; `None` if the image is no path.
            probabilities: the probability of each class.
        """
        best = np.argsort(-probabilities, kind="stable")[:top]
        named = tuple((self.inputs.class_names[label], float(probabilities[label])) for label in best)
        return Prediction(path, *named[0], named)

    def _decode(self, image: Input, pixels: np.ndarray) -> str | None:
        """Write the pixels of an image into an array, and return what is wrong with the image, or `None`."""
        try:
            pixels[...] = self.decode(image)
        except (ValueError, OSError) as error:
            return reason_of(error)
        return None

    def _resized(self, image: np.ndarray) -> np.ndarray:
        if image.shape == self.inputs.image_shape and image.dtype == np.uint8:
            return image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3) or 0 in image.shape:
            raise ValueError(
                f"it is an array {list(image.shape)} of {image.dtype}; give pixels [H, W, 1] or [H, W, 3] "
                "of uint8"
            )
        picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        return resize_image(picture, self.inputs.image_shape, self.inputs.resizing)


def find_images(paths: Sequence[str | Path]) -> list[str]:
    """Return the paths of images, where a folder stands for the image files in it and below it.

    Hidden files, and files whose name has no suffix of an image, are left out of folders.

    Args:
        paths: the paths of files, which are returned as they are, and of folders.

    Raises:
        FileNotFoundError: a folder holds no image.
    """
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    found = []
    for path in map(Path, paths):
        below = [path]
        if path.is_dir():
            below = [
                file
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in suffixes
                and not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(path).parts)
            ]
            if not below:
                raise FileNotFoundError(
                    f"{path} holds no image, that is no file that ends in .jpg, .png, ..."
                )
        found += map(str, below)
    return found
