import os

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from research.deploy.predict import Predictor, find_images
from research.records import RecordError, read_run, write_config
from research.runs.load import load_data


@pytest.fixture(scope="module")
def predictor(run_folder):
    return Predictor.from_run(run_folder)


def test_predictions_are_those_that_the_run_measured(predictor, run_folder):
    images = load_data(run_folder).test.images[:65]  # the second batch is padded
    expected = softmax(read_run(run_folder).arrays()["test_logits"].astype(float), axis=-1)
    predictions = predictor(images, top=10)
    assert len(predictions) == 65
    for each, probabilities in zip(predictions, expected, strict=False):
        assert each.class_name == str(probabilities.argmax())
        found = {int(name): probability for name, probability in each.top}
        np.testing.assert_allclose([found[label] for label in range(10)], probabilities, atol=1e-5)
        values = [probability for _, probability in each.top]
        assert values == sorted(values, reverse=True)
        assert each.probability == values[0]
    without = Predictor.from_run(run_folder, tta="none")(images[:1])
    assert without[0].probability != pytest.approx(predictions[0].probability, abs=1e-6)


def test_files_and_arrays_of_other_sizes_are_resized_and_bad_ones_have_an_error(predictor, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a photo, ä.png")
    (tmp_path / "bad.jpg").write_text("no image")
    from_file, bad, missing, from_array, floats = predictor(
        [tmp_path / "a photo, ä.png", tmp_path / "bad.jpg", "missing.png", pixels, pixels / 255]
    )
    assert from_file.path == str(tmp_path / "a photo, ä.png")
    assert from_file._replace(path=None) == from_array
    assert bad.class_name is None
    assert "it is not in one of the formats JPEG" in str(bad.error)
    assert missing.error == "No such file or directory"
    assert "array [40, 60, 3] of float64; give pixels [H, W, 1]" in str(floats.error)


def test_a_folder_stands_for_its_images(tmp_path):
    for name in ("b.PNG", "below/a.jpeg", ".hidden.png", "notes.txt", "__MACOSX/c.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    photos = str(tmp_path / "photos")
    found = [os.path.join(photos, "b.PNG"), os.path.join(photos, "below", "a.jpeg")]
    assert find_images([photos, "x.txt"]) == [*found, "x.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no image"):
        find_images([tmp_path / "empty"])


def test_a_run_that_did_not_complete_is_refused(run_folder, tmp_path):
    write_config(tmp_path, read_run(run_folder).config)
    with pytest.raises(RecordError, match="the run is missing"):
        Predictor.from_run(tmp_path)
