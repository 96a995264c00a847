import numpy as np
from scipy.special import softmax
from scipy.stats import binomtest

from research.config import Config
from research.records import read_run
from research.runs.card import calibration_error, wilson_interval
from research.runs.run import run
from research.studies.predictions import Predictions, calibration


def test_a_run_has_a_card_with_its_numbers(tmp_path):
    values = {"model": "tiny", "data": {"train_limit": 64}, "training": {"epochs": 1, "batch_size": 32}}
    result = run(Config.from_dict(values), tmp_path)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    arrays = read_run(tmp_path).arrays()
    probabilities = softmax(arrays["test_logits"].astype(float), axis=-1)
    expected = calibration(Predictions("arm", 1, probabilities, arrays["test_labels"], ())).error
    found = calibration_error(probabilities.max(-1), probabilities.argmax(-1) == arrays["test_labels"])
    assert np.isclose(found, expected)
    for text in (
        "# tiny on digits\n",
        "64 images for training, 144 for validation,\n  359 for testing",
        f"| accuracy | {result.test_accuracy:.2%}, 95 % interval ",
        f"| calibration error (15 bins) | {expected:.2%} |",
        f"are those of epoch {result.best_epoch}.",
        "Command: `python ",
    ):
        assert text in card


def test_the_interval_is_that_of_scipy():
    for right in (0, 7, 20):
        expected = binomtest(right, 20).proportion_ci(method="wilson")
        np.testing.assert_allclose(wilson_interval(right, 20), expected, atol=1e-12)
