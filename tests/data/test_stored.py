"""Images that stay on disk: what is known about them and what is read is what memory would hold."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from research.data import (
    ChosenClasses,
    DataError,
    FolderImages,
    StoredImages,
    TfdsImages,
    batches_in_order,
    load_dataset,
)
from research.data.stored import read_ahead
from tests.data.test_tfds_folder import data_dir  # noqa: F401


@pytest.fixture
def photos(tmp_path):
    """Thirty images of two sizes in three classes."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "é")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(0, 80 * (label + 1), (8, 6 + index % 2, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def assert_equal(stored, held):
    for split in ("train", "validation", "test"):
        here, there = getattr(stored, split), getattr(held, split)
        assert isinstance(here.images, StoredImages)
        assert here.images.shape == there.images.shape
        assert np.array_equal(here.labels, there.labels)
        assert np.array_equal(np.asarray(here.images), there.images)
        batches = list(batches_in_order(here.images, 4))
        assert np.array_equal(np.concatenate([there.images[:0], *batches]), there.images)
    splits = {"train": held.train, "validation": held.validation, "test": held.test}
    assert vars(dataclasses.replace(stored, **splits)) == vars(held)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split_seed": 3, "train_limit": 9, "imbalance": 0.5, "label_noise": 0.2},
        {"validation_fraction": 0.0},
    ],
)
def test_a_folder_is_the_same_on_disk_and_in_memory(photos, tmp_path, options):
    images = FolderImages(photos, (6, 6))
    held = load_dataset(images, cache_dir=tmp_path / "b", in_memory=True, **options)
    assert_equal(load_dataset(images, cache_dir=tmp_path / "a", in_memory=False, **options), held)
    stored = load_dataset(images, cache_dir=tmp_path / "a", in_memory=False, **options)
    assert_equal(stored, held)  # from the cache
    rows = np.array([[3, 0], [1, 2]])
    assert stored.train.images[rows].shape == (2, 2, 6, 6, 3)
    assert np.array_equal(stored.train.images[rows][1, 0], stored.train.images[1])


def test_records_are_the_same_on_disk_and_in_memory(data_dir, tmp_path):  # noqa: F811
    images = TfdsImages("flowers", data_dir, (4, 4))
    for _ in range(2):
        stored = load_dataset(images, cache_dir=tmp_path / "a", in_memory=False)
        assert_equal(stored, load_dataset(images, cache_dir=tmp_path / "b", in_memory=True))


def test_splits_of_a_folder_are_the_same_on_disk_and_in_memory(photos, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    photos.rename(root / "train")
    (root / "val" / "cat").mkdir(parents=True)
    (root / "test" / "dog").mkdir(parents=True)
    (root / "train" / "cat" / "0.png").rename(root / "val" / "cat" / "0.png")
    (root / "train" / "dog" / "1.png").rename(root / "test" / "dog" / "1.png")
    images = FolderImages(root, (6, 6))
    for source in (images, ChosenClasses(images, ("dog", "cat"))):
        assert_equal(*(load_dataset(source, cache_dir=tmp_path, in_memory=each) for each in (False, True)))


def test_damaged_files_are_named_or_left_out_as_in_memory(photos, tmp_path):
    for name in ("cat/3.png", "é/7.png"):
        content = (photos / name).read_bytes()
        (photos / name).write_bytes(content[: len(content) // 2])
    messages = []
    for in_memory in (False, True):
        with pytest.raises(DataError) as error:
            load_dataset(FolderImages(photos, (6, 6)), cache_dir=tmp_path, in_memory=in_memory)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert "photos has 2 files that cannot be used: cat/3.png (it cannot be decoded" in messages[0]
    images = FolderImages(photos, (6, 6), skip_damaged=True)
    stored, held = (load_dataset(images, cache_dir=tmp_path, in_memory=each) for each in (False, True))
    assert_equal(stored, held)
    assert stored.num_left_out == 2
    images_of_splits = [split.images for split in (stored.train, stored.validation, stored.test)]
    (photos / "dog" / "0.png").unlink()
    with pytest.raises(DataError, match=r"photos/dog/0\.png cannot be used: No such file"):
        list(map(np.asarray, images_of_splits))


@pytest.mark.parametrize("num_threads", [0, 3])
def test_reading_ahead_keeps_the_order(num_threads):
    with closing(iter(read_ahead(np.arange(20).__getitem__, 20, num_threads=num_threads))) as results:
        assert list(results) == list(range(20))
