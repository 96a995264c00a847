import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "größe (1),b"):
        (tmp_path / "my photos, 2" / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 256, (10, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "my photos, 2" / name / f"{index}.png")
    (tmp_path / "my photos, 2" / "notes.txt").write_text("hello")
    return tmp_path / "my photos, 2"


def test_a_look_at_a_folder_and_a_run_on_it(call, photos, tmp_path):
    outcome = call("inspect_data.py", str(photos), "--image-size", "8", "8", "--augmentation=standard")
    assert outcome.code == 0, outcome.err
    for line in (
        "my photos, 2: 40 images in 2 classes",
        "height and width: 10x12 (40)",
        "  notes.txt (it lies",
    ):
        assert line in outcome.out
    pictures = {path.name for path in (tmp_path / "inspect-data").iterdir()}
    assert pictures == {"samples.png", "classes.png", "augmented.png"}
    words = ["data=folder", f"data.path={photos}", "data.image_size=[8,8]", "model=tiny", "training.epochs=1"]
    outcome = call("train.py", *words, "run=r")
    assert outcome.code == 2
    assert "has 1 file that cannot be used: notes.txt (it lies in no folder of a class)" in outcome.err
    outcome = call("train.py", *words, "data.skip_damaged=true", "run=r")
    assert outcome.code == 0, outcome.err
    assert "files of images left out: 1" in outcome.out
    provenance = json.loads((tmp_path / "r" / "result.json").read_text())["provenance"]
    assert (provenance["class_names"], provenance["num_left_out"]) == (["cat", "größe (1),b"], 1)
    assert call("evaluate.py", "r").code == 0
    assert sorted(path.name for path in photos.iterdir()) == ["cat", "größe (1),b", "notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["nowhere"],
            "nowhere is no folder, CSV file or npz file, and no dataset; give a path, the name of a",
        ),
        (["x.npz"], "data.path=x.npz does not exist; give an npz file"),
        (["."], "--out=inspect-data is not allowed, because it is a part of ."),
        (["digits", "--out=/dev/null"], "--out=/dev/null cannot be written: File exists; give a folder"),
        (["digits", "--image-size", "8"], "argument --image-size: expected 2 arguments"),
        (["digits", "--augmentation=weak"], "argument --augmentation: invalid choice: 'weak'"),
        (["digits", "--augmentation=strong", "--dir"], "argument --dir: expected one argument"),
    ],
)
def test_a_mistake_is_one_sentence(call, arguments, sentence):
    outcome = call("inspect_data.py", *arguments)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert sentence in outcome.err
