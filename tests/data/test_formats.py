import gzip
import io
import tarfile
from functools import partial

import numpy as np
import pytest

from research.data import DATASETS, DataError
from research.data.formats import parse_cifar10, parse_cifar100, parse_idx_files, read_idx

MNIST, CIFAR10, CIFAR100 = (DATASETS[name] for name in ("mnist", "cifar10", "cifar100"))

# the same bytes at any time: pytest names the tests after them, and the workers of xdist must agree
packed = partial(gzip.compress, mtime=0)


def idx(array):
    header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def cifar_members(num_labels, prefix, files, names_file, names):
    record_bytes = num_labels + 3072
    members = {f"{prefix}/{names_file}": ("\n".join(names) + "\n\n").encode()}
    for seed, name in enumerate(files):
        records = np.random.default_rng(seed).integers(0, 10, (4, record_bytes), dtype=np.uint8)
        members[f"{prefix}/{name}"] = records.tobytes()
    return members


def cifar10_members():
    files = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    return cifar_members(
        1, "cifar-10-batches-bin", files, "batches.meta.txt", [f"class{i}" for i in range(10)]
    )


def test_idx(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "a.gz").write_bytes(packed(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "a.gz"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(idx(np.zeros((2, 3))))[:-9], "a.gz is not a whole gzip file"),
        (b"<html>", "a.gz is not a whole gzip file"),
        (packed(b""), "a.gz is no IDX file of bytes: it begins with "),
        (packed(b"\0\0\x0d\x01" + b"\0" * 8), "a.gz is no IDX file of bytes: it begins with 00000d01"),
        (packed(idx(np.zeros((2, 3)))[:-1]), r"a.gz holds 5 values, its header says \(2, 3\)"),
        (packed(idx(np.zeros((2, 3))) + b"x"), r"a.gz holds 7 values, its header says \(2, 3\)"),
        (packed(b"\0\0\x08\x03\0\0"), "a.gz is cut off"),
        (
            packed(b"\0\0\x08\x04" + b"\xff" * 16),
            r"a.gz holds 0 values, its header says \(4294967295, ",
        ),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, message):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize(("shape", "count"), [((3, 28, 27), 3), ((3, 28, 28), 4), ((3, 784), 3)])
def test_idx_files_that_do_not_fit(tmp_path, shape, count):
    for split in ("train", "t10k"):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(packed(idx(np.zeros(shape))))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(packed(idx(np.zeros(count))))
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz and .* must be 28x28 of uint8, with a label each"
    ):
        parse_idx_files(MNIST, tmp_path)


def test_cifar10_keeps_rows_columns_and_colours_apart(tmp_path):
    members = cifar10_members()
    write_tar(tmp_path / "cifar-10-binary.tar.gz", members)
    source = parse_cifar10(CIFAR10, tmp_path)
    assert source.train.images.shape == (20, 32, 32, 3)
    assert source.splits["test"].images.shape == (4, 32, 32, 3)
    assert source.class_names == tuple(f"class{i}" for i in range(10))
    for example in (0, 5, 19):
        content = members[f"cifar-10-batches-bin/data_batch_{example // 4 + 1}.bin"]
        record = content[example % 4 * 3073 :][:3073]
        assert source.train.labels[example] == record[0]
        for row, column, channel in ((0, 0, 0), (3, 31, 1), (31, 2, 2)):
            pixel = record[1 + channel * 1024 + row * 32 + column]
            assert source.train.images[example, row, column, channel] == pixel


def test_cifar100_takes_the_fine_label(tmp_path):
    names = [f"fine{i}" for i in range(100)]
    members = cifar_members(2, "cifar-100-binary", ["train.bin", "test.bin"], "fine_label_names.txt", names)
    write_tar(tmp_path / "cifar-100-binary.tar.gz", members)
    source = parse_cifar100(CIFAR100, tmp_path)
    content = members["cifar-100-binary/train.bin"]
    assert source.train.labels.tolist() == list(content[1::3074])
    assert source.train.images[1, 0, 0].tolist() == [
        content[3074 + 2 + 1024 * channel] for channel in range(3)
    ]
    assert source.class_names == tuple(names)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch.bin", None, "does not hold cifar-10-batches-bin/test_batch.bin"),
        ("test_batch.bin", b"x" * 3074, "test_batch.bin holds 3074 bytes, not a multiple of 3073"),
        ("test_batch.bin", b"", "test_batch.bin holds 0 bytes, not a multiple of 3073"),
        ("batches.meta.txt", b"cat\ndog\n", "batches.meta.txt holds 2 names, not 10"),
        ("batches.meta.txt", b"\xff\xfe", "batches.meta.txt holds 1 names, not 10"),
    ],
)
def test_an_archive_that_holds_something_else(tmp_path, name, content, message):
    members = cifar10_members()
    del members[f"cifar-10-batches-bin/{name}"]
    if content is not None:
        members[f"cifar-10-batches-bin/{name}"] = content
    write_tar(tmp_path / "cifar-10-binary.tar.gz", members)
    with pytest.raises(DataError, match=f"cifar-10-binary.tar.gz.* {message}"):
        parse_cifar10(CIFAR10, tmp_path)


def test_nothing_is_extracted_and_links_are_not_followed(tmp_path):
    members = cifar10_members()
    path = tmp_path / "in" / "cifar-10-binary.tar.gz"
    path.parent.mkdir()
    write_tar(path, members | {"../escaped": b"x", "/escaped": b"x"})
    parse_cifar10(CIFAR10, path.parent)
    assert list(tmp_path.iterdir()) == [path.parent]
    with tarfile.open(path, "w:gz") as archive:
        for name in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(info)
    with pytest.raises(DataError, match="does not hold"):
        parse_cifar10(CIFAR10, path.parent)


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_an_archive_that_is_cut_off(tmp_path, keep):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_tar(path, cifar10_members())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is not a whole tar\.gz file"):
        parse_cifar10(CIFAR10, tmp_path)
