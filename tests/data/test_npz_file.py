import re

import numpy as np
import pytest

from research.data import DataError, NpzImages, load_dataset

X = np.arange(20 * 4 * 5, dtype=np.uint16).astype(np.uint8).reshape(20, 4, 5)


@pytest.mark.parametrize("names", [np.arange(20) % 2 + 7, np.array(["seven", "eight"])[np.arange(20) % 2]])
def test_images_and_labels(tmp_path, names):
    np.savez(tmp_path / "shapes.npz", x=X, y=names)
    images = NpzImages(tmp_path / "shapes.npz")
    dataset = load_dataset(images)
    assert dataset.name == "shapes"
    assert images.describe().image_shape == dataset.image_shape == (4, 5, 1)
    assert dataset.class_names == tuple(map(str, np.unique(names)))
    parts = [dataset.train, dataset.validation, dataset.test]
    assert [len(part.labels) for part in parts] == [14, 2, 4]
    pixels, labels = (np.concatenate([part[index] for part in parts]) for index in range(2))
    order = [int(np.flatnonzero((X[..., None] == image).all((1, 2, 3)))[0]) for image in pixels]
    assert sorted(order) == list(range(20))
    assert np.array(dataset.class_names)[labels].tolist() == [str(names[index]) for index in order]


def test_the_content_counts(tmp_path):
    for name, shift in (("a", 0), ("b", 0), ("c", 1)):
        np.savez(tmp_path / f"{name}.npz", x=X, y=(np.arange(20) + shift) % 2)
    a, b, c = (NpzImages(tmp_path / f"{name}.npz").content(tmp_path / "cache") for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "does not exist; give an npz file"),
        ({"x": X}, "it has no array y; its arrays are x"),
        ({"x": X / 255, "y": np.arange(20)}, "has x of float64 [20, 4, 5]; give uint8 from 0 to 255"),
        ({"x": X[..., 0], "y": np.arange(20)}, "has x of uint8 [20, 4]; give uint8"),
        ({"x": np.stack([X] * 4, -1), "y": np.arange(20)}, "has x of uint8 [20, 4, 5, 4]"),
        (
            {"x": X, "y": np.arange(19)},
            "has y of int64 [19]; give whole numbers or texts",
        ),
        ({"x": X, "y": np.zeros(20)}, "has y of float64 [20]"),
        ({"x": X, "y": np.zeros(20, int)}, "has the one class 0"),
        ({"x": X, "y": np.array([None] * 20)}, "cannot be read (Object arrays cannot be loaded"),
        (b"PK nothing", "cannot be read (it is no npz file); give an npz file with the arrays x and y"),
    ],
)
def test_a_wrong_file(tmp_path, arrays, message):
    path = tmp_path / "x.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif arrays is not None:
        np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(DataError, match=f"^data.path={path} .*{re.escape(message)}"):
        NpzImages(path).describe()
