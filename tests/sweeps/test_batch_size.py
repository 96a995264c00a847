import pytest

from research.config import Config, ConfigError
from research.sweeps.batch_size import SHARE, Trial, find_batch_size, largest_fit


@pytest.mark.parametrize("largest", [0, 1, 7, 64, 100, 999, 1000])
@pytest.mark.parametrize("start", [1, 64])
@pytest.mark.parametrize(("curve", "most_trials"), [("linear", 9), ("steps", 16), ("unknown", 16)])
def test_the_largest_number_is_found_to_a_sixteenth(start, largest, curve, most_trials):
    tried = []

    def try_size(number):
        tried.append(number)
        if curve == "unknown":
            return Trial(number, 1 if number <= largest else None, number <= largest)
        needed = 10 * number + 50 if curve == "linear" else 1000 * int(number > largest)
        return Trial(number, needed, needed <= limit)

    limit = 10 * largest + 50 if curve == "linear" else 500
    found = largest_fit(try_size, limit, start, 1000)
    assert found <= largest
    assert largest - found <= found / 16
    assert all(1 <= number <= 1000 for number in tried)
    assert len(tried) <= most_trials


def small(batch_size):
    training = {"batch_size": batch_size, "xla_optimization_level": 0}
    return Config.from_dict({"model": "mlp", "data": {"train_limit": 35}, "training": training})


def test_the_memory_of_the_compiled_steps_decides():
    trials = find_batch_size(small(32), free=10**12)
    assert [(trial.batch_size, trial.fits) for trial in trials] == [(32, True), (35, True)]
    first, second = (trial.num_bytes or 0 for trial in trials)
    parameters = 4 * (64 * 128 + 128 + 128 * 10 + 10)
    assert first > 3 * parameters + 35 * 64  # Adam has two moments of each; there are 35 images of 64 bytes
    assert second > first
    trials = find_batch_size(small(32), free=int(first / SHARE) + 1)
    assert [(trial.batch_size, trial.fits) for trial in trials][:2] == [(32, True), (35, False)]


def test_nothing_fits_is_a_sentence():
    with pytest.raises(
        ConfigError, match=r"batch_size=1 takes \d MB and does not fit into the free memory of 0"
    ):
        find_batch_size(small(1), free=1000)
