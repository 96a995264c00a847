import gzip
import hashlib
import io
import os
import socket
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from research.data import DATASETS, DataError, load_dataset, prepare
from research.data import preparation as preparation_module
from research.data.formats import parse_idx_files
from research.data.preparation import published
from research.data.source import read_folder
from tests.data.server import idx, idx_files

NAMES = ("mnist", "fashion_mnist", "cifar10", "cifar100")


def cifar_archive(prefix, files, names_file, num_classes):
    generator = np.random.default_rng(0)
    members = {names_file: "\n".join(f"class{i}" for i in range(num_classes)).encode()}
    for name in files:
        labels = generator.integers(0, num_classes if num_classes == 10 else 20, (6, num_classes // 90 + 1))
        pixels = generator.integers(0, 256, (6, 3072))
        members[name] = np.concatenate([labels, pixels], axis=1).astype(np.uint8).tobytes()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{prefix}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue(), members


@pytest.mark.parametrize("name", NAMES)
def test_addresses_and_checksums_are_those_of_tensorflow_datasets(name):
    files = published(name)
    assert len(files) == (1 if name.startswith("cifar") else 4)
    for file in files:
        assert file.url.startswith("http")
        assert file.file_name.endswith(".gz")
        assert file.size > 1000
        assert len(file.sha256) == 64


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_datasets_are_prepared_without_loss_and_in_order(server, source, tmp_path, name):
    server.files = idx_files(source)
    seen = []
    folder = prepare(
        name,
        data_dir=tmp_path / "a" / "b",
        mirror=server.url + "/",
        downloads=server.downloads(),
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert folder == tmp_path / "a" / "b" / name / "3.0.1"
    result = read_folder(name, DATASETS[name], folder)
    assert np.array_equal(result.train.images, source.train.images)
    assert np.array_equal(result.splits["test"].labels, source.splits["test"].labels)
    builder: Any = tfds.builder_from_directory(folder)
    records = builder.as_data_source("test")
    assert np.array_equal(records[3]["image"], source.splits["test"].images[3])
    dataset = load_dataset(name, data_dir=tmp_path / "a" / "b", cache_dir=tmp_path / "cache")
    assert len(dataset.train.labels) == 180
    assert dataset.class_names[9] == {"mnist": "9", "fashion_mnist": "Ankle boot"}[name]
    assert seen[0][0] == "downloading train-images-idx3-ubyte.gz"
    assert (f"encoding {name} train", 200, 200) in seen
    assert all(0 <= done <= total for _, done, total in seen)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [name]
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(
    ("name", "prefix", "files", "names_file", "num_classes"),
    [
        (
            "cifar10",
            "cifar-10-batches-bin",
            [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"],
            "batches.meta.txt",
            10,
        ),
        ("cifar100", "cifar-100-binary", ["train.bin", "test.bin"], "fine_label_names.txt", 100),
    ],
)
def test_cifar_is_prepared_without_loss(server, tmp_path, name, prefix, files, names_file, num_classes):
    archive, members = cifar_archive(prefix, files, names_file, num_classes)
    server.files = {published(name)[0].file_name: archive}
    folder = prepare(name, data_dir=tmp_path, mirror=server.url, downloads=server.downloads())
    result = read_folder(name, DATASETS[name], folder)
    assert result.class_names == tuple(f"class{i}" for i in range(num_classes))
    last = members[files[-1]][-3072:]
    assert result.splits["test"].images[-1].transpose(2, 0, 1).tobytes() == last
    assert result.splits["test"].labels[-1] == members[files[-1]][-3073]


def test_what_is_there_is_left_alone(server, source, tmp_path):
    server.files = idx_files(source)
    options = {"data_dir": tmp_path, "mirror": server.url, "downloads": server.downloads()}
    folder = prepare("mnist", **options)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    requests = len(server.requests)
    seen = []
    assert prepare("mnist", **options, progress=lambda *arguments: seen.append(arguments)) == folder
    assert seen == [(f"mnist is already in {tmp_path}", 1, 1)]
    assert len(server.requests) == requests
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_is_there_but_not_whole_is_said(data_dir):
    folder = data_dir / "mnist" / "3.0.1"
    (folder / "mnist-test.array_record-00000-of-00001").unlink()
    with pytest.raises(DataError, match=f"mnist-test.* is missing; move {folder} away and run: cnn-research"):
        prepare("mnist", data_dir=data_dir)


def fail(server, tmp_path, message, **options):
    """Expect that preparing fails with a message of one line and leaves nothing at all."""
    data_dir = tmp_path / "new" / "data"
    options = {"mirror": server.url, "downloads": server.downloads(), **options}
    with pytest.raises(DataError, match=message) as error:
        prepare("mnist", data_dir=data_dir, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_another_checksum(server, source, tmp_path):
    server.files = idx_files(source)
    downloads = server.downloads()
    content = bytearray(server.files["t10k-images-idx3-ubyte.gz"])
    content[100] ^= 1
    server.files["t10k-images-idx3-ubyte.gz"] = bytes(content)
    message = f"{server.url}/t10k-images-idx3-ubyte.gz has sha256 [0-9a-f]{{64}}, published is [0-9a-f]{{64}}"
    fail(server, tmp_path, message, downloads=downloads)


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_cut_off(server, source, tmp_path, announced):
    server.files = idx_files(source)
    downloads = server.downloads()
    name = "train-images-idx3-ubyte.gz"
    size = len(server.files[name])
    server.files[name] = server.files[name][:5000]
    server.lengths = {name: 5000 if announced else size}
    server.http.RequestHandlerClass.protocol_version = "HTTP/1.0"
    fail(
        server,
        tmp_path,
        f"{name} (was cut off after 5000 of {size} bytes|cannot be downloaded)",
        downloads=downloads,
    )


def test_a_file_that_is_too_long(server, source, tmp_path):
    server.files = idx_files(source)
    downloads = server.downloads()
    server.files["train-labels-idx1-ubyte.gz"] += b"x" * 1_000_000
    message = "train-labels-idx1-ubyte.gz is longer than the [0-9]+ bytes that were published"
    fail(server, tmp_path, message, downloads=downloads)


def test_a_file_that_is_not_there(server, source, tmp_path):
    server.files = idx_files(source)
    downloads = server.downloads()
    del server.files["train-labels-idx1-ubyte.gz"]
    fail(server, tmp_path, "train-labels-idx1-ubyte.gz answered 404 Not Found", downloads=downloads)


def test_a_server_that_is_silent(server, source, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation_module, "TIMEOUT", 0.2)
    server.files = idx_files(source)
    server.pause = 1.0
    fail(server, tmp_path, "cannot be downloaded: timed out")


def test_no_server(server, source, tmp_path):
    server.files = idx_files(source)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    fail(server, tmp_path, "cannot be reached: Connection refused", mirror=f"http://127.0.0.1:{port}")


def test_no_network(server, source, tmp_path, monkeypatch):
    def resolve(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server.files = idx_files(source)
    fail(server, tmp_path, "nowhere.invalid/.* cannot be reached: Name or service not known", mirror=None)


def test_a_server_that_speaks_something_else(server, source, tmp_path):
    server.files = idx_files(source)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"220 ready\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        fail(server, tmp_path, "cannot be downloaded", mirror=f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


@pytest.mark.parametrize(
    "mirror", ["file:///etc", "ftp://host/x", "/srv/mirror", "", "http://", "http://a b"]
)
def test_addresses_that_are_none(server, source, tmp_path, mirror):
    server.files = idx_files(source)
    fail(server, tmp_path, "is not an http or https address|cannot be (reached|downloaded)", mirror=mirror)


@pytest.mark.parametrize("as_mirror", [Path, lambda path: f"{path.as_uri()}/"])
def test_a_local_mirror(server, source, tmp_path, as_mirror):
    server.files = idx_files(source)
    mirror = tmp_path / "a mirror, ä#%"
    mirror.mkdir()
    for name, content in server.files.items():
        (mirror / name).write_bytes(content)
    downloads = server.downloads()
    server.files = {}
    folder = prepare("mnist", data_dir=tmp_path / "data", mirror=as_mirror(mirror), downloads=downloads)
    assert np.array_equal(read_folder("mnist", DATASETS["mnist"], folder).train.images, source.train.images)
    (mirror / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"file:///.*idx3-ubyte.gz was cut off after 7 of \d+ bytes"):
        prepare("mnist", data_dir=tmp_path / "other", mirror=as_mirror(mirror), downloads=downloads)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_published_content_that_makes_no_sense(server, source, tmp_path, name):
    server.files = idx_files(source) | {name: gzip.compress(b"<html>")}
    fail(server, tmp_path, f"{name} is no IDX file of bytes")


def test_published_labels_that_are_out_of_range(server, source, tmp_path):
    labels = source.splits["test"].labels.copy()
    labels[5] = 17
    server.files = idx_files(source) | {"t10k-labels-idx1-ubyte.gz": idx(labels)}
    fail(server, tmp_path, r"label 17, not in 0\.\.9")


def test_a_folder_that_cannot_be_written(server, source, tmp_path):
    server.files = idx_files(source)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"mnist cannot be written in .*: Not a directory"):
        prepare("mnist", data_dir=tmp_path / "file" / "data", mirror=server.url, downloads=server.downloads())
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_interruption_leaves_nothing(server, source, tmp_path):
    server.files = idx_files(source)

    def interrupt(what, done, total):
        if what.startswith("encoding"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(
            "mnist",
            data_dir=tmp_path / "data",
            mirror=server.url,
            downloads=server.downloads(),
            progress=interrupt,
        )
    assert not (tmp_path / "data").exists()


def test_two_at_the_same_time(server, source, tmp_path):
    server.files = idx_files(source)
    prepared = []

    def second(what, done, total):
        if what.startswith("reading") and done == 1 and not prepared:
            prepared.append(True)
            prepare("mnist", data_dir=tmp_path, mirror=server.url, downloads=server.downloads())

    folder = prepare(
        "mnist", data_dir=tmp_path, mirror=server.url, downloads=server.downloads(), progress=second
    )
    assert prepared
    assert os.listdir(tmp_path) == ["mnist"]
    assert np.array_equal(read_folder("mnist", DATASETS["mnist"], folder).train.images, source.train.images)


def test_names():
    with pytest.raises(DataError, match="digits comes with scikit-learn; there is nothing to prepare"):
        prepare("digits")
    with pytest.raises(ValueError, match="unknown dataset 'svhn'"):
        prepare("svhn")


@pytest.mark.slow
def test_the_real_files_of_mnist(server, tfds_dir, tmp_path):
    raw = tfds_dir.parent / "raw" / "mnist"
    if not raw.is_dir():
        pytest.skip(f"no IDX files in {raw}")
    server.files = {path.name: path.read_bytes() for path in raw.iterdir()}
    # this copy of the training images was compressed again; its content is what was published
    content = gzip.decompress(server.files["train-images-idx3-ubyte.gz"])
    expected = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert hashlib.sha256(content).hexdigest() == expected
    ours = {download.file_name: download for download in server.downloads()}
    for download in published("mnist"):
        if download.file_name != "train-images-idx3-ubyte.gz":
            assert ours[download.file_name].sha256 == download.sha256
    folder = prepare("mnist", data_dir=tmp_path, mirror=server.url, downloads=server.downloads())
    source, result = parse_idx_files(DATASETS["mnist"], raw), read_folder("mnist", DATASETS["mnist"], folder)
    for array, other in zip(
        (*source.train, *source.splits["test"]), (*result.train, *result.splits["test"]), strict=True
    ):
        assert np.array_equal(array, other)
