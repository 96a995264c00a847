"""Datasets in processes of their own: what they import, and disks that are full."""

import subprocess
import sys
from pathlib import Path

import pytest

from research.data import load_dataset
from tests.data.server import idx_files

REPOSITORY = Path(__file__).parents[2]

LOAD = """
import sys
from research.data import load_dataset
dataset = load_dataset("mnist", data_dir=sys.argv[1], cache_dir=sys.argv[2])
print(dataset.checksum, *(name in sys.modules for name in ("tensorflow", "tensorflow_datasets", "sklearn")))
"""


def test_tensorflow_is_never_imported_and_tfds_only_to_decode(written, tmp_path):
    checksum = load_dataset("mnist", data_dir=written, cache_dir=tmp_path / "other").checksum
    command = [sys.executable, "-W", "error", "-c", LOAD, str(written), str(tmp_path / "cache")]
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout.split()
        for _ in range(2)
    ]
    assert outputs == [
        [checksum, "False", "True", "False"],
        [checksum, "False", "False", "False"],
    ]


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    script = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from research.data.cache import read_cached
from research.data.dataset import Split
from research.data.source import Source
split = Split(np.zeros((100, 28, 28, 1), np.uint8), np.zeros(100, np.int32))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
with warnings.catch_warnings(record=True) as caught:
    read_cached(Path(sys.argv[1]), lambda: Source(split, split, ()))
print(len(caught), "cannot be kept in" in str(caught[0].message))
"""
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", script, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout == "1 True\n"
    assert list(folder.iterdir()) == []


PREPARE = """
import resource, sys
from research.data.dataset import DataError
from research.data.preparation import Download, prepare
url, folder, limit, *downloads = sys.argv[1:]
downloads = [Download(*parts) for parts in map(str.split, downloads)]
downloads = [download._replace(size=int(download.size)) for download in downloads]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    prepare("mnist", data_dir=folder, mirror=url, downloads=downloads)
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("stage", ["downloading", "writing"])
def test_no_space(server, source, tmp_path, stage):
    server.files = idx_files(source)
    data_dir = tmp_path / "data"
    downloads = [" ".join(map(str, download)) for download in server.downloads()]
    limit = 1000 if stage == "downloading" else max(map(len, server.files.values())) + 1
    command = [sys.executable, "-c", PREPARE, server.url, str(data_dir), str(limit), *downloads]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.count("\n") == 1
    assert f"mnist cannot be written in {data_dir}" in result.stdout
    assert "File too large" in result.stdout
    assert not data_dir.exists()
