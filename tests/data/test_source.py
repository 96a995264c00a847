import io
import json
import os
import random
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from research.data import DATASETS, DataError
from research.data.cache import checksum
from research.data.folder import FolderBuilder
from research.data.source import find_folder, fingerprint, read_folder

MNIST = DATASETS["mnist"]
SHARD = "mnist-train.array_record-00000-of-00001"


def png(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **options)
    return file.getvalue()


ZEROS = png(np.zeros((28, 28), np.uint8))


@pytest.fixture
def folder(data_dir) -> Path:
    return find_folder("mnist", MNIST, data_dir)


@pytest.fixture
def write_examples(tmp_path):
    """Write a dataset whose training split holds these examples, without any check."""

    def write(train, spec=MNIST):
        examples = {"train": train, "test": [{"image": ZEROS, "label": 0}]}
        builder: Any = FolderBuilder("mnist", spec, MNIST.class_names or (), examples, tmp_path)
        # a label out of range is refused by the feature that TFDS writes with
        builder.info.features["label"]._num_classes = 1000
        builder.download_and_prepare(
            download_dir=str(tmp_path / "downloads"),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
        return tmp_path / "mnist" / "3.0.1"

    return write


def test_what_was_written_is_read_to_the_byte_and_in_order(folder, source):
    result = read_folder("mnist", MNIST, folder)
    for array, expected in zip(
        map(np.asarray, (*result.train, *result.splits["test"])),
        map(np.asarray, (*source.train, *source.splits["test"])),
        strict=True,
    ):
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)
    assert result.class_names == tuple("0123456789")
    assert "tensorflow" not in sys.modules


def test_tfds_reads_it_too(folder, source):
    builder: Any = tfds.builder_from_directory(folder)
    records = builder.as_data_source("train")
    assert len(records) == 200
    assert np.array_equal(records[7]["image"], source.train.images[7])
    assert records[7]["label"] == 7


def test_a_missing_dataset_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError) as error:
        find_folder("mnist", MNIST, tmp_path)
    command = f"cnn-research prepare-data data=mnist data.dir={tmp_path}"
    assert str(error.value) == f"mnist is not in {tmp_path}; run: {command}"


def test_a_path_with_spaces_is_quoted_for_the_shell():
    with pytest.raises(DataError, match=r"'data\.dir=/no such/folder'$"):
        find_folder("mnist", MNIST, Path("/no such/folder"))


def test_a_missing_shard_is_named(folder):
    (folder / SHARD).unlink()
    with pytest.raises(DataError, match=f"{SHARD} is missing; move {folder} away and run: cnn-research"):
        read_folder("mnist", MNIST, folder)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_a_damaged_description_names_the_folder(folder, name):
    (folder / name).write_text("{")
    with pytest.raises(DataError, match=f"{folder} cannot be read"):
        read_folder("mnist", MNIST, folder)


@pytest.mark.parametrize("count", [100, 201, 2**40])
def test_another_number_of_examples_than_was_promised(folder, count):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"200"', f'"{count}"'))
    with pytest.raises(DataError, match=f"{SHARD} holds 200 records, dataset_info.json says {count}"):
        read_folder("mnist", MNIST, folder)


def test_a_damaged_shard_is_never_read_as_other_numbers(folder, source):
    path = folder / SHARD
    content = path.read_bytes()
    generator = random.Random(0)
    messages = []
    for trial in range(40):
        damaged = bytearray(content)
        if trial % 2:
            damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        else:
            del damaged[generator.randrange(len(content)) :]
        path.write_bytes(damaged)
        try:
            result = read_folder("mnist", MNIST, folder)
        except DataError as error:
            messages.append(str(error))
        else:  # the byte was padding
            assert checksum(result) == checksum(source)
    assert len(messages) > 20
    assert all(SHARD in message and "\n" not in message for message in messages)


def test_damaged_descriptions_give_one_sentence(folder):
    generator = random.Random(1)
    messages = []
    for name in ("features.json", "dataset_info.json"):
        content = (folder / name).read_bytes()
        for _ in range(40):
            damaged = bytearray(content)
            damaged[generator.randrange(len(content))] = generator.randrange(128)
            (folder / name).write_bytes(damaged)
            try:
                read_folder("mnist", MNIST, folder)
            except DataError as error:
                messages.append(str(error))
        (folder / name).write_bytes(content)
    assert len(messages) > 20
    assert all(str(folder) in message and "\n" not in message for message in messages)


def claiming(width, height):
    """A PNG of 28x28 zeros whose header claims another size, with the right checksum."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + ZEROS[24:29]
    return ZEROS[:12] + header + zlib.crc32(header).to_bytes(4, "big") + ZEROS[33:]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (png(np.zeros((32, 28), np.uint8)), "its image is 28x32 L, not 28x28 L"),
        (png(np.zeros((28, 28, 3), np.uint8)), "its image is 28x28 RGB, not 28x28 L"),
        (claiming(9_000, 9_000), "its image is 9000x9000 L, not 28x28 L"),
        (claiming(12_000, 12_000), r"its image cannot be decoded \(Image size \(144000000 pixels\) exceeds"),
        (
            claiming(100_000, 100_000),
            r"its image cannot be decoded \(Image size \(10000000000 pixels\) exceeds",
        ),
        (ZEROS[:40], "its image cannot be decoded"),
        (b"GIF89a", "its image cannot be decoded"),
        (b"", "its image cannot be decoded"),
    ],
    ids=["size", "mode", "81 megapixels", "144 megapixels", "10 gigapixels", "cut off", "format", "empty"],
)
def test_an_image_of_another_kind_names_its_record(write_examples, image, message):
    folder = write_examples([{"image": ZEROS, "label": 1}, {"image": image, "label": 1}])
    with pytest.raises(DataError, match=f"record 1 of {folder / SHARD} is not of mnist: {message}"):
        read_folder("mnist", MNIST, folder)


def test_a_flipped_bit_within_an_image_is_never_read_as_other_pixels(write_examples):
    image = np.ones((28, 28), np.uint8)  # of few bytes, so that decoding ends before its own checksum
    damaged = bytearray(png(image))
    place = len(damaged) - 24
    assert damaged.index(b"IDAT") < place < damaged.index(b"IEND")
    damaged[place] ^= 1
    folder = write_examples([{"image": bytes(damaged), "label": 1}])
    with pytest.raises(DataError, match=f"record 0 of {folder / SHARD} .* cannot be decoded"):
        read_folder("mnist", MNIST, folder)


@pytest.mark.parametrize("label", [10, 900])
def test_a_label_out_of_range_names_its_record(write_examples, label):
    folder = write_examples([{"image": ZEROS, "label": 9}, {"image": ZEROS, "label": label}])
    with pytest.raises(DataError, match=f"record 1 of {folder / SHARD} .* its label is {label}, not in 0..9"):
        read_folder("mnist", MNIST, folder)


def test_a_description_imports_nothing_of_a_stranger(folder, monkeypatch):
    path = folder / "features.json"
    text = path.read_text().replace("tensorflow_datasets.core.features.image_feature", "stranger.module")
    path.write_text(text)
    (folder / "stranger").mkdir()
    (folder / "stranger" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(DataError, match=r"stranger.module.Image, which is not a feature of TFDS"):
        read_folder("mnist", MNIST, folder)


def test_other_features_and_file_formats_are_refused(folder):
    info = folder / "dataset_info.json"
    text = info.read_text()
    info.write_text(text.replace('"array_record"', '"tfrecord"'))
    with pytest.raises(DataError, match="its tfrecord files need TensorFlow"):
        read_folder("mnist", MNIST, folder)
    info.write_text(text)
    features = folder / "features.json"
    features.write_text(features.read_text().replace("ClassLabel", "Text"))
    with pytest.raises(DataError, match="an Image image and a ClassLabel label are needed"):
        read_folder("mnist", MNIST, folder)


def test_another_number_of_classes_is_refused(folder):
    with pytest.raises(DataError, match="has 10 class names, cifar100 has 100 classes"):
        read_folder("cifar100", DATASETS["cifar100"], folder)


def test_the_fingerprint_follows_the_files(folder):
    before = fingerprint(folder)
    assert before == fingerprint(folder)
    stat = (folder / SHARD).stat()
    os.utime(folder / SHARD, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert fingerprint(folder) != before


def test_a_source_of_no_examples(folder):
    info = folder / "dataset_info.json"
    content = json.loads(info.read_text())
    for split in content["splits"]:
        split["shardLengths"] = ["0"]
    info.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{folder} cannot be read"):
        read_folder("mnist", MNIST, folder)
