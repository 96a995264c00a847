import re

import numpy as np
import pytest
from PIL import Image

from research.cli.evaluate import text_of
from research.config import Config
from research.data import DataError, load_dataset
from research.records import read_run
from research.runs.judge import Judgement, judge
from research.runs.run import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "seed 0"
    base = {"model": {"name": "tiny"}, "data": {"train_limit": 300}, "training": {"epochs": 2}}
    run(Config.from_dict(base), folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The first 60 test images without those of the class 0, one of which is twice as large."""
    folder, (images, labels) = tmp_path_factory.mktemp("photos"), load_dataset("digits").test
    for index in np.flatnonzero(labels[:60]):
        picture = Image.fromarray(images[index, ..., 0])
        if index == 7:
            picture = picture.resize((16, 16), Image.Resampling.NEAREST)
        (folder / str(labels[index])).mkdir(exist_ok=True)
        picture.save(folder / str(labels[index]) / f"{index:02}.png")
    return folder


def test_new_images_are_judged_by_the_names_of_their_classes(finished, photos, monkeypatch):
    arrays = read_run(finished).arrays()
    right = (arrays["test_logits"].argmax(-1) == arrays["test_labels"])[:60][arrays["test_labels"][:60] > 0]
    found = judge(finished, photos)
    assert (found.name, found.counts.sum()) == (photos.name, len(right))
    assert found.accuracy == right.mean()
    assert found.counts[0].sum() == 0
    assert np.trace(found.counts) == right.sum()
    low, high = found.interval
    assert 0 < low < found.accuracy < high <= 1
    lines = text_of(found).splitlines()
    assert lines[0] == f"images {len(right)} of {photos.name}"
    assert lines[1].startswith(f"accuracy {found.accuracy:.4f}, 95 % interval {low:.4f} to ")
    assert lines[5].split()[:3] == ["class", "images", "recall"]
    assert lines[7].split()[:2] == ["0", "0"]
    assert judge(finished, "digits").counts.sum() == 1797
    monkeypatch.setattr("research.runs.judge.fits", lambda *_: False)  # the images stay on disk
    np.testing.assert_array_equal(judge(finished, photos).logits, found.logits)


def test_arrays_are_judged_by_the_names_of_their_classes(finished, tmp_path):
    images, labels = load_dataset("digits").test
    kept = labels % 2 == 1
    np.savez(tmp_path / "odd.npz", x=images[kept], y=labels[kept])
    found = judge(finished, tmp_path / "odd.npz")
    arrays = read_run(finished).arrays()
    np.testing.assert_allclose(found.logits, arrays["test_logits"][kept], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.labels, labels[kept])


def test_images_that_cannot_be_judged_are_refused(finished, tmp_path):
    def refused(data, message):
        with pytest.raises(DataError, match=re.escape(message)):
            judge(finished, data)

    refused(tmp_path, f"{tmp_path} has no images; give a folder with a folder of images for each class")
    refused("nothing", "nothing is no folder, CSV file or npz file, and no dataset; give a path")
    for name in ("3", "zebra"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    refused(
        tmp_path, "has images of classes that the network does not know: zebra; give images of its classes"
    )
    (tmp_path / "zebra" / "a.png").rename(tmp_path / "3" / "b.png")
    (tmp_path / "zebra").rmdir()
    assert judge(finished, tmp_path).labels.tolist() == [3, 3]
    (tmp_path / "3" / "b.png").write_bytes(b"no image")
    refused(
        tmp_path,
        "has 1 file that cannot be used: 3/b.png (it cannot be decoded: it is not in one of ",
    )
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 9, 9), np.uint8), y=np.arange(4))
    refused(tmp_path / "x.npz", "has images of 9x9x1 (height, width, channels), and the network reads 8x8x1")


def test_many_classes_are_printed_as_a_list_of_confusions():
    names = tuple(f"class {i}" for i in range(30))
    logits = np.eye(30)[[0, 1, 2, 2, 2]]
    text = text_of(Judgement("x", names, np.array([0, 1, 2, 7, 7]), logits))
    assert ["class", "7", "2", "0.00"] in [line.split() for line in text.splitlines()]
    assert text.splitlines()[-1].split() == ["class", "7", "class", "2", "2"]
    assert "class 8" not in text
