"""The timings of decoding, with a few files."""

import numpy as np
from PIL import Image

from research.benchmarks.decoding import NUM_CLASSES, time_decoding, write_photos
from research.benchmarks.stored import time_stored
from research.config import Config


def test_photos_are_equal_in_pixels_only(tmp_path):
    write_photos(tmp_path, 60)
    paths = sorted(tmp_path.rglob("*.jpg"), key=lambda path: int(path.stem))
    assert len(paths) == len({path.read_bytes() for path in paths}) == 60
    assert len({path.parent for path in paths}) == NUM_CLASSES
    pixels = [np.asarray(Image.open(path)) for path in paths]
    assert {each.shape for each in pixels} == {(300, 400, 3)}
    assert np.array_equal(pixels[0], pixels[50])
    assert not np.array_equal(pixels[0], pixels[1])


def test_the_second_start_reads_the_cache(monkeypatch):
    seconds = time_decoding(40)
    assert seconds.keys() == {"first", "second"}
    assert seconds["second"] > 0


def test_training_from_disk_is_timed_and_its_memory_read():
    values = {"model": {"name": "tiny"}, "training": {"batch_size": 8, "xla_optimization_level": 0}}
    result = time_stored(Config.from_dict(values), 8, (8, 8), 40)
    assert all(result[name] > 0 for name in ("step", "read", "train"))
    assert 0 <= result["waited"] < 1
    assert [step for step, _ in result["memory_mib"]] == [3, 6, 8]
    assert all(mib > 0 for _, mib in result["memory_mib"])
