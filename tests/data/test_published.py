"""Preparation of further datasets, from a server with files in the published formats."""

import gzip
import io
import re
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from research.cli.inspect_data import draw_augmented, draw_samples, text_of
from research.data import DATASETS, DataError, TableImages, TfdsImages, inspect_images, load_dataset, prepare
from research.data.preparation import published
from tests.data.server import idx, idx_files


def images(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kmnist", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]),
        ("emnist_balanced", ["gzip.zip"]),
        ("emnist_letters", ["gzip.zip"]),
        ("svhn_cropped", ["test_32x32.mat", "train_32x32.mat"]),
        ("cifar10_1", ["cifar10.1_v4_data.npy", "cifar10.1_v4_labels.npy"]),
        ("cifar10_corrupted", ["CIFAR-10-C.tar"]),
    ],
)
def test_the_published_files(name, expected):
    files = published(name)
    assert [file.file_name for file in files][: len(expected)] == expected
    assert all(file.url.startswith("http") and len(file.sha256) == 64 for file in files)


@pytest.fixture
def prepared(server, tmp_path):
    """Prepare a dataset from the files of the server."""

    def prepared(name):
        return prepare(name, data_dir=tmp_path, mirror=server.url, downloads=server.downloads())

    return prepared


def test_kmnist(server, source, prepared, tmp_path):
    server.files = idx_files(source)
    prepared("kmnist")
    dataset = load_dataset("kmnist", data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert dataset.class_names[:3] == ("o", "ki", "su")
    np.testing.assert_array_equal(dataset.test.images, source.test.images)


@pytest.mark.parametrize(("part", "first"), [("balanced", 0), ("letters", 1)])
def test_emnist_stands_upright(server, prepared, tmp_path, part, first):
    num_classes = DATASETS[f"emnist_{part}"].num_classes
    pixels, labels = images(num_classes, (28, 28), 0), np.arange(num_classes)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for split in ("train", "test"):
            prefix = f"gzip/emnist-{part}-{split}"
            archive.writestr(f"{prefix}-images-idx3-ubyte.gz", idx(pixels.transpose(0, 2, 1)))
            archive.writestr(f"{prefix}-labels-idx1-ubyte.gz", idx(labels + first))
    server.files = {"gzip.zip": file.getvalue()}
    prepared(f"emnist_{part}")
    test = load_dataset(f"emnist_{part}", data_dir=tmp_path, cache_dir=tmp_path / "cache").test
    np.testing.assert_array_equal(test.images[..., 0], pixels)
    np.testing.assert_array_equal(test.labels, labels)


def test_the_names_of_emnist():
    balanced, letters = (
        [*(DATASETS[f"emnist_{part}"].class_names or ())] for part in ("balanced", "letters")
    )
    assert (len(balanced), balanced[9:12], balanced[35:38]) == (47, ["9", "A", "B"], ["Z", "a", "b"])
    assert (letters[0], letters[25]) == ("A", "Z")


def test_svhn(server, prepared, tmp_path):
    for name, seed in (("train", 0), ("test", 1)):
        file = io.BytesIO()
        labels = np.arange(1, 11, dtype=np.uint8)[:, None]  # the digit 0 is published as 10
        savemat(file, {"X": np.moveaxis(images(10, (32, 32, 3), seed), 0, -1), "y": labels})
        server.files[f"{name}_32x32.mat"] = file.getvalue()
    prepared("svhn_cropped")
    test = load_dataset("svhn_cropped", data_dir=tmp_path, cache_dir=tmp_path / "cache").test
    np.testing.assert_array_equal(test.images, images(10, (32, 32, 3), 1))
    assert test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_cifar10_1_has_test_images_only(server, prepared, tmp_path):
    pixels, labels = images(10, (32, 32, 3), 0), np.arange(10)
    server.files = {"cifar10.1_v4_data.npy": npy(pixels), "cifar10.1_v4_labels.npy": npy(labels)}
    prepared("cifar10_1")
    source, _ = TableImages("cifar10_1", tmp_path).read(tmp_path / "cache")
    assert source.class_names[3] == "cat"
    np.testing.assert_array_equal(source.splits["test"].images, pixels)
    again, _ = TableImages("cifar10_1", tmp_path).read(tmp_path / "cache")
    assert (len(again.train.labels), again.splits["test"].labels.tolist()) == (0, list(range(10)))
    with pytest.raises(
        DataError, match="cifar10_1 has test images only; train on other images, and give --data"
    ):
        load_dataset("cifar10_1", data_dir=tmp_path, cache_dir=tmp_path / "cache")
    found = inspect_images(TableImages("cifar10_1", tmp_path), tmp_path / "cache")
    assert {name: counts.sum() for name, counts in found.counts().items()} == {
        "train": 0,
        "validation": 0,
        "test": 10,
    }
    assert found.mean == pytest.approx((pixels / 255).mean((0, 1, 2)))
    assert "of the test images" in text_of(found)
    draw_samples(found, tmp_path / "samples.png")
    assert np.asarray(Image.open(tmp_path / "samples.png").convert("L")).min() < 100
    draw_augmented(found, "standard", tmp_path / "augmented.png")


def corrupted(labels: np.ndarray, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, array in {**arrays, "labels": labels}.items():
            info = tarfile.TarInfo(f"CIFAR-10-C/{name}.npy")
            info.size = len(npy(array))
            archive.addfile(info, io.BytesIO(npy(array)))
    return file.getvalue()


def test_cifar10_corrupted_has_a_folder_for_each_corruption_and_severity(server, prepared, tmp_path):
    pixels, labels = images(20, (32, 32, 3), 0), np.tile(np.arange(4), 5)
    server.files = {"CIFAR-10-C.tar": corrupted(labels, fog=pixels, snow=255 - pixels)}
    folder = prepared("cifar10_corrupted")
    names = [f"{corruption}_{severity}" for corruption in ("fog", "snow") for severity in range(1, 6)]
    assert sorted(path.name for path in folder.iterdir()) == names
    third = TfdsImages("cifar10_corrupted/snow_3", tmp_path).read(tmp_path / "cache")[0].splits["test"]
    np.testing.assert_array_equal(third.images, 255 - pixels[8:12])
    assert third.labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(
        DataError, match=r"has a folder for each of fog_1, fog_2, fog_3, ...; give one of them"
    ):
        TableImages("cifar10_corrupted", tmp_path).locate()
    requests = len(server.requests)
    assert prepared("cifar10_corrupted") == folder
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("emnist_letters", {"gzip.zip": b"<html>"}, "gzip.zip cannot be read: File is not a zip file"),
        (
            "svhn_cropped",
            {"train_32x32.mat": b"x" * 200, "test_32x32.mat": b""},
            "train_32x32.mat cannot be read",
        ),
        (
            "cifar10_1",
            {"cifar10.1_v4_data.npy": b"<html>", "cifar10.1_v4_labels.npy": b""},
            "cifar10.1_v4_data.npy is no NumPy file",
        ),
        (
            "cifar10_1",
            {
                "cifar10.1_v4_data.npy": npy(images(3, (32, 32), 0)),
                "cifar10.1_v4_labels.npy": npy(np.arange(3)),
            },
            "hold images (3, 32, 32) of uint8 and labels (3,); images must be 32x32x3 of uint8",
        ),
        (
            "cifar10_corrupted",
            {"CIFAR-10-C.tar": gzip.compress(b"x", mtime=0)},
            "CIFAR-10-C.tar cannot be read",
        ),
        (
            "cifar10_corrupted",
            {"CIFAR-10-C.tar": corrupted(np.arange(5), fog=images(4, (32, 32, 3), 0))},
            "fog.npy holds 4 images, labels.npy 5 labels",
        ),
    ],
)
def test_files_that_are_not_as_published(server, prepared, tmp_path, name, files, message):
    server.files = files
    with pytest.raises(DataError, match=re.escape(message)):
        prepared(name)
    assert not any(tmp_path.iterdir())
