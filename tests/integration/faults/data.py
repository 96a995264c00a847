"""Datasets that are not what they were: each fault is one sentence that names the file or the record."""

import functools
import io
import itertools
import random
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from research.config import Config
from research.data import Split
from research.data.cache import checksum
from research.data.folder import write_folder
from research.data.source import Source, folder_of, read_folder
from research.records import RecordError
from research.runs.preemption import StopOnSignal
from research.runs.run import evaluate, run
from research.studies.results import read_studies
from tests.integration.faults.configs import call_train
from tests.integration.faults.security import MNIST, write_examples

RUN = {
    "model": {"name": "tiny"},
    "training": {"epochs": 1, "batch_size": 32, "scan_steps": 1},
    "data": {"name": "mnist"},
}


def damaged_dataset(rng: random.Random, folder: Path) -> None:
    """A file that is missing, cut off or has a flipped bit is named, or what is read is what was written."""
    target = copy_dataset(folder)
    path = rng.choice(sorted(target.iterdir()))
    content = bytearray(path.read_bytes())
    kind = rng.choice(("missing", "cut off", "flipped", "swapped"))
    if kind == "missing":
        path.unlink()
    elif kind == "cut off":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "flipped":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    else:
        shutil.copyfile(rng.choice(sorted(set(target.iterdir()) - {path})), path)
    code, said = train(folder)
    if code == 0:  # the byte is not part of what is read
        assert kind != "missing" or "array_record" not in path.name, path.name
        assert checksum(read_folder("mnist", MNIST, target)) == checksum(small_source()), (
            f"{path.name}: {kind}"
        )
    else:
        assert said.startswith((f"train.py: {target}", "train.py: mnist is not in", "train.py: record")), said
        assert str(target) in said or str(target.parent.parent) in said, said


def bad_record(rng: random.Random, folder: Path) -> None:
    """A record whose image is damaged or of another shape, or whose label is out of range, is named."""
    good, bad = encode((28, 28)), bytearray(encode((28, 28), 1))
    kind = rng.choice(("cut off", "flipped", "shape", "label", "other"))
    if kind == "cut off":
        bad = bad[: rng.randrange(len(bad) - 12)]  # the last 12 bytes say that it ends
    elif kind == "flipped":
        bad[rng.randrange(len(bad) - 12)] ^= 1 << rng.randrange(8)
    elif kind == "shape":
        bad = encode(rng.choice(((28, 29), (27, 28), (28, 28, 3), (1, 1))))
    elif kind == "other":
        bad = rng.randbytes(rng.randrange(200))
    examples = [{"image": good, "label": 3} for _ in range(5)]
    place = rng.randrange(5)
    examples[place] = {"image": bytes(bad), "label": rng.choice((10, 11, 255, 999)) if kind == "label" else 3}
    write_examples({"train": examples, "test": examples[:1]}, folder / "data")
    code, said = train(folder)
    assert code == 2, f"{kind}: {said}"
    assert said.startswith(f"train.py: record {place} of {folder_of('mnist', MNIST, folder / 'data')}"), said


def changed_data(rng: random.Random, folder: Path) -> None:
    """A run does not go on with data that changed, nor is it evaluated on it, or compared with one of it."""
    data = copy_dataset(folder).parent.parent
    config = Config.from_dict(RUN | {"data": {"name": "mnist", "dir": str(data), "cache_dir": str(folder)}})
    calls = itertools.count()
    interrupted = run(
        config, folder / "cut", callbacks=[StopOnSignal(lambda: signal.SIGTERM if next(calls) else None)]
    )
    assert interrupted.status == "preempted"
    assert run(config, folder / "whole").status == "completed"
    shutil.rmtree(data)
    write(changed(rng), data)
    code, out, err = call_train([f"run={folder / 'cut'}", "resume=true"], folder, runs=True)
    assert (code, out) == (2, ""), err
    assert "run on other data: the checksums differ" in err.splitlines()[-1], err
    with pytest.raises(RecordError, match=r"whole was trained on other data: its checksum of mnist differs"):
        evaluate(folder / "whole")
    assert run(config, folder / "other").status == "completed"
    with pytest.raises(RecordError, match=r"other and .*whole cannot be compared: the data changed between"):
        read_studies(folder)


def changed(rng: random.Random) -> Source:
    """The small dataset with one pixel or one label changed."""
    source = small_source()
    train, test = (Split(*(np.array(array) for array in split)) for split in source.splits.values())
    array = np.asarray(rng.choice((test.images, test.labels, train.labels)))
    index = tuple(rng.randrange(size) for size in array.shape)
    array[index] = (array[index] + 1) % 10
    return Source(train, test, source.class_names)


def encode(shape: tuple[int, ...], value: int = 0) -> bytes:
    """A PNG of that shape."""
    file = io.BytesIO()
    Image.fromarray(np.full(shape, value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def train(folder: Path) -> tuple[int, str]:
    """Exit code and errors of a run of the dataset in ``folder/data``, up to the shapes of its program."""
    words = ["model=tiny", "data=mnist", f"data.dir={folder / 'data'}", "training.batch_size=2"]
    code, out, err = call_train(words, folder, runs=False)
    assert "Traceback" not in out + err
    assert code in (0, 2), err
    assert err.count("\n") == (code == 2), err
    return code, err


@functools.cache
def small_source() -> Source:
    """A dataset in the format of MNIST."""
    generator = np.random.default_rng(0)
    train, test = (
        Split(generator.integers(0, 256, (n, 28, 28, 1), np.uint8), np.arange(n, dtype=np.int32) % 10)
        for n in (150, 40)
    )
    return Source(train, test, MNIST.class_names or ())


@functools.cache
def _written() -> Path:
    return write(small_source(), Path(tempfile.mkdtemp(prefix="fault-")))


def write(source: Source, data_dir: Path) -> Path:
    """Write a dataset; gives its folder."""
    return write_folder("mnist", MNIST, source, data_dir, lambda what, done, total: None)


def copy_dataset(folder: Path) -> Path:
    """A prepared dataset below ``folder/data``; gives its own folder there."""
    return Path(shutil.copytree(_written(), folder_of("mnist", MNIST, folder / "data")))
