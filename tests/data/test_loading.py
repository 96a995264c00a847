import shutil
import time

import numpy as np
import pytest

from research.data import DATASETS, DataError, default_data_dir, load_dataset
from research.data.dataset import Split
from research.data.formats import parse_idx_files
from research.data.loading import pixel_statistics
from research.data.splits import Pool


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def load(written, tmp_path_factory):
    """Load the small MNIST, decoded once for all tests."""
    cache_dir = tmp_path_factory.mktemp("cache")

    def load(**options):
        return load_dataset("mnist", data_dir=written, cache_dir=cache_dir, **options)

    return load


def test_digits(digits):
    assert digits.image_shape == (8, 8, 1)
    assert digits.num_classes == 10
    assert digits.class_names == tuple("0123456789")
    assert [len(split.labels) for split in (digits.train, digits.validation, digits.test)] == [1294, 144, 359]
    for images, labels in (digits.train, digits.validation, digits.test):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert set(np.unique(labels)) == set(range(10))
    values = np.unique(digits.train.images)
    assert values.tolist() == np.rint(np.arange(17) * 255 / 16).tolist()


def test_the_splits_of_digits_stay_the_same_from_version_to_version(digits):
    assert digits.checksum == "027f00a20f0d1f3a178d3a00f24c944a682e0c837c749fae2978e0425bb89120"
    assert digits.validation.labels[:12].tolist() == [4, 6, 8, 9, 8, 8, 4, 3, 1, 3, 0, 3]


def test_splits_are_stratified_and_share_no_image(digits):
    total = np.bincount(np.concatenate([digits.train.labels, digits.validation.labels, digits.test.labels]))
    for split in (digits.train, digits.validation, digits.test):
        proportional = total * len(split.labels) / total.sum()
        assert np.all(np.abs(np.bincount(split.labels) - proportional) < 2)
    rows = np.concatenate([split.images for split in (digits.train, digits.validation, digits.test)])
    assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) == 1797


def test_the_split_follows_its_seed_alone(digits):
    again = load_dataset("digits")
    other = load_dataset("digits", split_seed=1)
    assert again.checksum == digits.checksum
    assert np.array_equal(again.train.images, digits.train.images)
    assert not np.array_equal(other.test.images, digits.test.images)


def test_a_prepared_dataset(load, source):
    dataset = load()
    assert dataset.image_shape == (28, 28, 1)
    assert (len(dataset.train.labels), len(dataset.validation.labels)) == (180, 20)
    assert np.bincount(dataset.validation.labels).tolist() == [2] * 10
    assert np.array_equal(dataset.test.images, source.test.images)
    order = np.argsort(np.concatenate([dataset.train.labels, dataset.validation.labels]), kind="stable")
    pixels = np.concatenate([dataset.train.images, dataset.validation.images])[order].reshape(200, -1)
    assert np.array_equal(np.unique(pixels, axis=0), np.unique(source.train.images.reshape(200, -1), axis=0))
    assert load(split_seed=5).checksum == dataset.checksum


def test_a_limit_takes_a_stratified_subset_of_the_training_images_only(load):
    full, small, smaller = load(), load(train_limit=50), load(train_limit=20)
    assert np.bincount(small.train.labels).tolist() == [5] * 10
    assert np.array_equal(small.validation.images, full.validation.images)
    assert np.array_equal(small.test.images, full.test.images)
    assert small.mean != full.mean
    inside = {image.tobytes() for image in small.train.images}
    assert all(image.tobytes() in inside for image in smaller.train.images)
    assert len(load(train_limit=180).train.labels) == 180


@pytest.mark.parametrize("shape", [(5000, 4, 4, 1), (300, 5, 6, 3)])
def test_pixel_statistics(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    mean, std = pixel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-9)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_channel_can_be_divided_by(value):
    mean, std = pixel_statistics(np.full((3, 28, 28, 1), value, np.uint8))
    assert mean == pytest.approx((value / 255,))
    assert std == (1.0,)


@pytest.mark.parametrize("fraction", [1e-9, 0.5, 1 - 1e-9])
def test_neither_part_of_a_split_is_empty(fraction):
    split = Split(np.zeros((7, 1, 1, 1), np.uint8), np.zeros(7, np.int32))
    first, second = Pool(split).hold_out(fraction, 0)
    assert len(first) >= 1
    assert len(second) >= 1
    assert len(first) + len(second) == 7


def test_one_example_cannot_be_split():
    with pytest.raises(ValueError, match="1 examples cannot be split in two"):
        Pool(Split(np.zeros((1, 1, 1, 1), np.uint8), np.zeros(1, np.int32))).hold_out(0.5, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": -0.1}, "validation_fraction=-0.1; allowed: at least 0 and below 1"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"validation_fraction": float("nan")}, "validation_fraction=nan"),
        ({"test_fraction": -0.1}, "test_fraction=-0.1"),
        ({"split_seed": -1}, "split_seed=-1; allowed: 0 and above"),
        ({"train_limit": 0}, "train_limit=0; allowed: 1 to 1294 for digits"),
        ({"train_limit": 1295}, "train_limit=1295; allowed: 1 to 1294 for digits"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("digits", **options)


def test_an_unknown_name():
    with pytest.raises(
        ValueError, match="unknown dataset 'imagenet'; allowed: cifar10, cifar100, cifar10_1,"
    ):
        load_dataset("imagenet")


def test_a_missing_dataset(tmp_path):
    with pytest.raises(
        DataError, match=f"fashion_mnist is not in {tmp_path / 'none'}; run: cnn-research prepare-data"
    ):
        load_dataset("fashion_mnist", data_dir=tmp_path / "none")


def test_where_the_data_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert default_data_dir() == tmp_path
    with pytest.raises(DataError, match=f"mnist is not in {tmp_path};"):
        load_dataset("mnist")
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "tensorflow_datasets"


def test_changed_files_are_decoded_again(data_dir, written, tmp_path):
    before = load_dataset("mnist", data_dir=data_dir, cache_dir=tmp_path / "cache")
    folder = data_dir / "mnist" / "3.0.1"
    for split in ("train", "test"):
        name = f"mnist-{split}.array_record-00000-of-00001"
        other = {"train": "test", "test": "train"}[split]
        shutil.copy(written / "mnist" / "3.0.1" / f"mnist-{other}.array_record-00000-of-00001", folder / name)
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"200"', '"x"').replace('"50"', '"200"').replace('"x"', '"50"'))
    after = load_dataset("mnist", data_dir=data_dir, cache_dir=tmp_path / "cache")
    assert (len(before.test.labels), len(after.test.labels)) == (50, 200)
    assert before.checksum != after.checksum


@pytest.mark.integration
def test_real_mnist_is_the_published_one_and_starts_fast_the_second_time(tfds_dir):
    dataset = load_dataset("mnist", data_dir=tfds_dir)  # the cache of all tests of this run
    assert seconds_of(lambda: load_dataset("mnist", data_dir=tfds_dir)) < 1
    again = load_dataset("mnist", data_dir=tfds_dir)
    assert again.checksum == dataset.checksum
    assert (len(again.train.labels), len(again.validation.labels), len(again.test.labels)) == (
        54_000,
        6_000,
        10_000,
    )
    assert again.mean == pytest.approx((0.1306,), abs=2e-4)
    assert again.std == pytest.approx((0.3081,), abs=2e-4)
    raw = tfds_dir.parent / "raw" / "mnist"
    if not raw.is_dir():
        pytest.skip(f"no IDX files in {raw} to compare with")
    published = parse_idx_files(DATASETS["mnist"], raw)
    found = Split(*(np.concatenate(parts) for parts in zip(again.train, again.validation, strict=True)))
    for ours, theirs in ((found, published.train), (again.test, published.test)):
        assert rows_in_order(ours) == rows_in_order(theirs)


def seconds_of(call):
    """The best of three, since other processes may be at work."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def rows_in_order(split):
    return sorted(label.tobytes() + image.tobytes() for image, label in zip(*split, strict=True))


@pytest.mark.slow
def test_real_cifar10(tfds_dir, tmp_path):
    if not (tfds_dir / "cifar10").is_dir():
        pytest.skip(f"no prepared CIFAR-10 in {tfds_dir}")
    dataset = load_dataset("cifar10", data_dir=tfds_dir, cache_dir=tmp_path)
    assert dataset.train.images.shape == (45_000, 32, 32, 3)
    assert np.bincount(dataset.validation.labels).tolist() == [500] * 10
    assert dataset.class_names[0] == "airplane"
    assert load_dataset("cifar10", data_dir=tfds_dir, cache_dir=tmp_path).checksum == dataset.checksum
    assert seconds_of(lambda: load_dataset("cifar10", data_dir=tfds_dir, cache_dir=tmp_path)) < 1.5


def test_without_a_validation_split_all_images_are_trained_on():
    dataset, usual = (load_dataset("digits", validation_fraction=fraction) for fraction in (0, 0.1))
    assert len(dataset.train.labels) == len(usual.train.labels) + len(usual.validation.labels)
    assert dataset.validation.images.shape == (0, 8, 8, 1)
    np.testing.assert_array_equal(dataset.test.images, usual.test.images)
    assert dataset.checksum == usual.checksum
