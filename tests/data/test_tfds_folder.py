"""Prepared folders of TFDS that are no dataset of the table."""

import io
import re
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from research.data import DataError, TfdsImages, load_dataset


def jpeg(value, size):
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, "JPEG")
    return file.getvalue()


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    code_path: Any = None  # otherwise TFDS looks for checksums beside this file
    VERSION = tfds.core.Version("1.2.0")

    def __init__(self, name, features, splits, **options):
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self._features, self._splits = features, splits
        super().__init__(file_format="array_record", **options)

    def _info(self):
        features = tfds.features.FeaturesDict(self._features)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {split: iter(enumerate(examples)) for split, examples in self._splits.items()}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Flowers: images of two sizes, with other features, and splits for training and validation."""
    folder = tmp_path_factory.mktemp("tfds")
    features = {
        "photo": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "species": tfds.features.ClassLabel(names=["rose", "tulip"]),
        "title": tfds.features.Text(),
        "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),
    }
    examples = [
        {"photo": jpeg(10 * i, (8 + 4 * (i % 2), 8)), "species": i % 2, "title": "x", "boxes": []}
        for i in range(20)
    ]
    splits = {"train": examples[:16], "validation": examples[16:]}
    builder = Builder("flowers", features, splits, data_dir=str(folder))
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_dir=str(folder / "downloads"), download_config=config)
    return folder


def test_any_prepared_dataset(data_dir, tmp_path):
    images = TfdsImages("flowers", data_dir, (4, 4))
    dataset = load_dataset(images, cache_dir=tmp_path)
    assert images.describe().image_shape == dataset.image_shape == (4, 4, 3)
    assert dataset.class_names == ("rose", "tulip")
    assert [len(part.labels) for part in (dataset.train, dataset.validation, dataset.test)] == [13, 4, 3]
    for part in (dataset.train, dataset.validation, dataset.test):
        assert np.array_equal(np.rint(part.images[:, 0, 0, 0] / 10).astype(int) % 2, part.labels)
    assert dataset.validation.images[:, 0, 0, 0].tolist() == pytest.approx([160, 170, 180, 190], abs=2)
    assert load_dataset(images, cache_dir=tmp_path).checksum == dataset.checksum


def test_what_cannot_be_read(data_dir):
    for config in "12":
        (data_dir / "c" / config / "1.0.0").mkdir(parents=True, exist_ok=True)
        (data_dir / "c" / config / "1.0.0" / "dataset_info.json").write_text("{}")
    for name, message in (
        ("flowers", "data.image_size=null is not allowed, because the images of flowers have several sizes"),
        ("trees", f"data.name=trees is not in {data_dir}; prepare it with tensorflow-datasets"),
        ("c", "has the configurations 1, 2; give one of them, such as data.name=c/1"),
        ("c/1", "; prepare it again with tensorflow-datasets"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            TfdsImages(name, data_dir).describe()


def test_the_newest_version_is_read(data_dir, tmp_path):
    for version in ("1.9.0", "1.10.0", "incomplete"):
        (tmp_path / "a" / version).mkdir(parents=True)
        (tmp_path / "a" / version / "dataset_info.json").write_text("{}")
    assert TfdsImages("a", tmp_path).locate().name == "1.10.0"
    assert TfdsImages("a/1.9.0", tmp_path).locate().name == "1.9.0"
