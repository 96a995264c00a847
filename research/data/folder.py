"""Writing of a dataset as a folder of TFDS, without TensorFlow."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from research.data.dataset import DatasetSpec
from research.data.source import Source, folder_of

Example = dict[str, Any]


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder of TFDS for images that are already encoded.

    Args:
        name: the name of the dataset.
        spec: the shapes and the version of the dataset.
        class_names: the name of each label.
        examples: for each split, its examples `{"image": PNG bytes, "label": int}` in order.
        data_dir: the folder of TFDS datasets, in which the dataset is written.
    """

    # Otherwise TFDS would look for checksums beside this file, by a package that it does not install.
    code_path: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        name: str,
        spec: DatasetSpec,
        class_names: tuple[str, ...],
        examples: dict[str, list[Example]],
        data_dir: Path,
    ) -> None:
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self.VERSION = tfds.core.Version(str(spec.version))
        self._spec = spec
        self._class_names = class_names
        self._examples = examples
        super().__init__(data_dir=str(data_dir), file_format="array_record")

    def _info(self) -> Any:
        image = tfds.features.Image(shape=self._spec.image_shape, encoding_format="png")
        label = tfds.features.ClassLabel(names=list(self._class_names))
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}, the published images without loss and in their order.",
            features=features,
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, Example]]]:
        return {split: self._generate_examples(split) for split in self._examples}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, Example]]:
        yield from enumerate(self._examples[split])


def write_folder(
    name: str, spec: DatasetSpec, source: Source, data_dir: Path, progress: Callable[[str, int, int], None]
) -> Path:
    """Write the splits of a source as a dataset of PNG images, in the order of the source.

    Args:
        name: the name of the dataset.
        spec: the shapes and the version of the dataset.
        source: the images, labels and class names.
        data_dir: the folder of TFDS datasets, in which the dataset is written.
        progress: a function that is called with a description of the work, the number of images that are
            done, and the number of all images.

    Returns:
        The folder of the dataset in `data_dir`.
    """
    examples: dict[str, list[Example]] = {}
    for split, (images, labels) in source.splits.items():
        if len(labels):
            examples[split] = []
        for image, label in zip(np.asarray(images), labels, strict=True):
            examples[split].append({"image": _encode(image), "label": int(label)})
            if len(examples[split]) % 1000 == 0 or len(examples[split]) == len(labels):
                progress(f"encoding {name} {split}", len(examples[split]), len(labels))
    builder = FolderBuilder(name, spec, source.class_names, examples, data_dir)
    # TFDS prints text and progress bars, and has no option to turn them off.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.download_and_prepare(
            download_dir=str(data_dir / "downloads"),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    return folder_of(name, spec, data_dir)


def _encode(image: np.ndarray) -> bytes:
    """Return the image `[H, W, C]` as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()
