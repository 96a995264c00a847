import numpy as np
import pytest
from PIL import Image

from research.data import FolderImages, inspect_images
from research.data.duplicates import find_duplicates


def test_equal_and_nearly_equal_images():
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 220, (40, 6, 6, 3), dtype=np.uint8)
    smooth = [Image.fromarray(image).resize((32, 24), Image.Resampling.BICUBIC) for image in coarse]
    images = np.stack([np.asarray(image) for image in smooth])
    brighter = np.clip(images[3].astype(int) + 20, 0, 255).astype(np.uint8)
    noisy = np.clip(images[5] + rng.normal(0, 4, images[5].shape), 0, 255).astype(np.uint8)
    found = find_duplicates([images, images[[7, 9, 7]], np.stack([brighter, noisy])])
    assert found.equal == [[7, 40, 42], [9, 41]]
    assert found.near == [(3, 43), (5, 44)]


def test_images_of_one_colour_are_only_equal_if_they_are():
    found = find_duplicates(np.full((1, 8, 8, 1), level, np.uint8) for level in (10, 200, 10))
    assert (found.equal, found.near) == ([[0, 2]], [])


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_folder_with_leakage(tmp_path, in_memory, monkeypatch):
    monkeypatch.setattr("research.data.inspection.BATCH", 4)
    rng = np.random.default_rng(0)

    def save(path, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)

    for split, count in (("train", 6), ("test", 3)):
        for name in ("a", "b"):
            for index in range(count):
                size = (9, 10 + index % 2, 3)
                save(tmp_path / "x" / split / name / f"{index}.png", rng.integers(0, 256, size, np.uint8))
    for copy in ("test/a/9.png", "train/b/9.png", "train/a/9.png"):
        content = (tmp_path / "x" / "train" / "a" / "0.png").read_bytes()
        (tmp_path / "x" / copy).write_bytes(content)
    (tmp_path / "x" / "train" / "a" / "no.png").write_bytes(b"")
    found = inspect_images(FolderImages(tmp_path / "x", (9, 9), skip_damaged=True), tmp_path / "c", in_memory)

    def named(pairs):
        return sorted(tuple(sorted((found.names[i], found.names[j]))) for i, j in pairs)

    assert named(found.leaks()) == [("test/a/9.png", "train/a/0.png")]
    assert named(found.contradictions()) == [("train/a/0.png", "train/b/9.png")]
    assert len(found.pairs()) == 3
    assert list(found.left_out) == ["train/a/no.png"]
    counts = found.counts()
    assert (counts["test"].tolist(), (counts["train"] + counts["validation"]).tolist()) == ([4, 3], [7, 7])
    assert dict(found.sizes) == {(9, 10): 13, (9, 11): 8}
    assert isinstance(found.parts[0], np.ndarray) == in_memory
    train = found.pixels(np.flatnonzero(found.splits == "train")) / 255
    assert found.mean == pytest.approx(train.mean((0, 1, 2)))
    assert found.std == pytest.approx(train.std((0, 1, 2)))
