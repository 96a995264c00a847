import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from research.data.cache import checksum, read_cached

ARRAYS = [f"{split}_{part}" for split in ("train", "test") for part in ("images", "labels")]
FILES = [*(f"{name}.npy" for name in ARRAYS), "meta.json"]


class Decode:
    """Counts how often it is asked to decode."""

    def __init__(self, source):
        self.source = source
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.source


@pytest.fixture
def decode(source):
    return Decode(source)


def test_images_are_decoded_once(decode, source, tmp_path):
    folder = tmp_path / "made" / "here"
    first, first_checksum = read_cached(folder, decode)
    second, second_checksum = read_cached(folder, decode)
    assert decode.calls == 1
    assert first_checksum == second_checksum == checksum(first) == checksum(second) == checksum(source)
    assert second.class_names == source.class_names
    assert np.asarray(second.train.images).flags.writeable
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_the_checksum_sees_values_shapes_types_and_splits(source):
    images, labels = source.train
    others = [
        source._replace(train=source.test, test=source.train),
        source._replace(train=source.train._replace(labels=labels[::-1])),
        source._replace(train=source.train._replace(labels=labels.astype(np.int64))),
        source._replace(train=source.train._replace(images=images.transpose(0, 2, 1, 3))),
        source._replace(train=source.train._replace(images=images.reshape(200, 14, 56, 1))),
    ]
    assert len({checksum(other) for other in (source, *others)}) == 6


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_noticed_and_made_again(decode, tmp_path, name):
    _, expected = read_cached(tmp_path, decode)
    content = (tmp_path / name).read_bytes()
    generator = random.Random(name)
    for trial in range(30):
        damaged = bytearray(content)
        place = generator.randrange(min(len(content), 200 if trial % 2 else len(content)))
        if trial % 3:
            damaged[place] ^= 1 << generator.randrange(8)
        else:
            del damaged[place:]
        (tmp_path / name).write_bytes(damaged)
        calls = decode.calls
        try:
            with pytest.warns(RuntimeWarning, match="cached arrays in .* are damaged and are made again"):
                result, digest = read_cached(tmp_path, decode)
        except pytest.fail.Exception:  # a space in the header, or the letter of a class name
            result, digest = read_cached(tmp_path, decode)
        else:
            assert decode.calls == calls + 1
            assert (tmp_path / name).read_bytes() == content
        assert digest == expected == checksum(result)
        (tmp_path / name).write_bytes(content)


def test_a_missing_array_is_made_again(decode, tmp_path):
    read_cached(tmp_path, decode)
    (tmp_path / "test_labels.npy").unlink()
    with pytest.warns(RuntimeWarning, match=r"test_labels\.npy"):
        read_cached(tmp_path, decode)
    read_cached(tmp_path, decode)
    assert decode.calls == 2


def test_an_unfinished_cache_is_finished_in_silence(decode, tmp_path):
    read_cached(tmp_path, decode)
    (tmp_path / "meta.json").unlink()
    read_cached(tmp_path, decode)
    assert decode.calls == 2
    assert (tmp_path / "meta.json").exists()


def test_a_header_that_claims_too_much_takes_no_memory(decode, tmp_path):
    read_cached(tmp_path, decode)
    path = tmp_path / "train_images.npy"
    content = path.read_bytes().replace(
        b"(200, 28, 28, 1), }" + b" " * 12, b"(1099511627776, 28, 28, 1), }  "
    )
    assert b"1099511627776" in content
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="are damaged"):
        read_cached(tmp_path, decode)


def test_a_pickle_is_not_opened(decode, tmp_path):
    read_cached(tmp_path, decode)
    (tmp_path / "train_labels.npy").write_bytes(pickle.dumps([1, 2]))
    with pytest.warns(RuntimeWarning, match="pickled"):
        read_cached(tmp_path, decode)


def test_where_nothing_can_be_written_the_work_goes_on(decode, source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(
        RuntimeWarning, match=r"cannot be kept in .* \(Not a directory\), so every start decodes them again"
    ):
        result, digest = read_cached(tmp_path / "file" / "cache", decode)
    assert result is source
    assert digest == checksum(source)


def test_many_writers_at_the_same_time(source, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: read_cached(tmp_path, lambda: source)[1], range(40)))
    assert set(results) == {checksum(source)}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
