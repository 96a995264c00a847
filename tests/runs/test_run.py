import numpy as np
import pytest

from research.config import Config, ConfigError
from research.records import (
    RecordError,
    RunResult,
    find_runs,
    parameters_checksum,
    read_config,
    read_run,
    write_config,
    write_result,
)
from research.records.status import read_status
from research.runs.callbacks import ProgressBar
from research.runs.load import load_trained
from research.runs.run import evaluate, run
from research.studies.figures.arms import learning_curves
from research.studies.results import read_studies


def config(**values) -> Config:
    base = {"model": {"name": "tiny"}, "data": {"train_limit": 300}, "training": {"epochs": 2}}
    return Config.from_dict(base | values)


def compile_seconds(result: RunResult) -> float:
    assert result.seconds is not None
    return result.seconds.compile


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "seed 0"
    return folder, run(config(), folder)


def test_a_run_records_what_it_found(finished):
    folder, result = finished
    record = read_run(folder)
    assert record.result is not None
    assert record.result == result
    assert set(record.files) == {"config.yaml", "metrics.jsonl", "arrays.npz"}
    assert record.status == "completed"
    assert record.config == config().to_dict()
    assert [line["epoch"] for line in record.metrics] == [1, 2]
    assert result.num_parameters == 80 + 1168 + 170  # on 8x8 images the second pool is left out
    assert 0 < result.seconds.train < result.seconds.total
    provenance = result.provenance
    assert len(provenance["data_checksum"]) == 64
    assert provenance["versions"]["jax"]


def test_the_arrays_give_the_accuracy_of_the_result(finished):
    folder, result = finished
    arrays = read_run(folder).arrays()
    accuracy = (arrays["test_logits"].argmax(-1) == arrays["test_labels"]).mean()
    assert accuracy == result.test_accuracy
    assert arrays["first_kernels"].shape == (3, 3, 1, 8)
    assert arrays["feature_map/conv1"].shape == (6, 6, 8)
    maps = [name for name in arrays if name.startswith("feature_map/")]
    assert maps[:3] == [
        "feature_map/conv1",
        "feature_map/act1",
        "feature_map/pool1",
    ]  # as the network has them
    np.testing.assert_array_equal(arrays["image"].shape, (8, 8, 1))


def test_the_validation_metrics_are_those_of_the_chosen_epoch(finished):
    folder, result = finished
    chosen = read_run(folder).metrics[result.best_epoch - 1]
    assert result.validation_accuracy == chosen["validation_accuracy"]
    assert chosen["validation_accuracy"] == max(
        line["validation_accuracy"] for line in read_run(folder).metrics
    )


def test_evaluating_again_gives_the_same_numbers(finished):
    folder, result = finished
    measured, scores = evaluate(folder), ("test_balanced_accuracy", "test_macro_f1")
    assert measured == {
        "test_loss": result.test_loss,
        "test_accuracy": result.test_accuracy,
        **{name: result.measurements[name] for name in scores},
    }
    arrays = read_run(folder).arrays()
    right = arrays["test_logits"].argmax(-1) == arrays["test_labels"]
    recalls = [right[arrays["test_labels"] == label].mean() for label in range(10)]
    assert measured["test_balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_seeds_share_a_program_and_the_same_seed_gives_the_same_bits(finished, tmp_path):
    folder, _ = finished
    again = run(config(), tmp_path / "again")
    other = run(config(seed=1), tmp_path / "other")
    assert compile_seconds(again) == compile_seconds(other) == 0
    logits = [
        read_run(path).arrays()["test_logits"] for path in (folder, tmp_path / "again", tmp_path / "other")
    ]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


def test_runs_that_differ_in_rates_only_share_a_program(finished, tmp_path):
    optimizer = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.1}
    assert compile_seconds(run(config(optimizer=optimizer), tmp_path / "run")) == 0


def test_evaluate_refuses_other_data_and_unfinished_runs(finished, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    data = {"train_limit": 300, "split_seed": 1}
    write_config(copy, config(data=data).to_dict())
    with pytest.raises(RecordError, match="has no parameters to evaluate: the run is missing"):
        evaluate(copy)
    write_result(copy, finished[1])
    with pytest.raises(RecordError, match="was trained on other data"):
        evaluate(copy)


def test_a_long_tail_is_sampled_in_equal_parts(tmp_path):
    data = {"train_limit": 150, "imbalance": 0.1, "sampling": "balanced"}
    result = run(config(data=data), tmp_path / "run")
    assert (result.status, result.measurements["num_train"]) == ("completed", 150)
    assert run(config(data=data | {"sampling": "uniform"}), tmp_path / "other").test_loss != result.test_loss


def test_augmentation_is_part_of_the_program(tmp_path):
    data = {"train_limit": 100, "augmentations": ["flip", "crop"]}
    result = run(config(data=data), tmp_path / "augmented")
    assert result.status == "completed"
    assert compile_seconds(result) > 0


def test_a_batch_larger_than_the_training_split_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"training\.batch_size=301 is not allowed; give at most the 300"):
        run(config(training={"epochs": 1, "batch_size": 301}), tmp_path / "run")


@pytest.mark.integration
def test_real_mnist_is_learned(tfds_dir, tmp_path):
    """One pass over 6,000 real images."""
    data = {"name": "mnist", "dir": str(tfds_dir), "train_limit": 6000}
    result = run(config(data=data, training={"epochs": 1, "batch_size": 64}), tmp_path / "mnist")
    assert (result.test_accuracy or 0) > 0.85


def test_batches_and_windows_larger_than_the_data_take_no_more_memory(tmp_path):
    large = {"epochs": 1, "batch_size": 32, "eval_batch_size": 10**12, "window": 10**12}
    assert run(config(training=large), tmp_path / "large").status == "completed"


def test_without_a_validation_split_the_last_parameters_are_kept_and_validation_has_no_number(tmp_path):
    everything = {"train_limit": 300, "validation_fraction": 0}
    result = run(
        config(data=everything, training={"epochs": 2, "keep": "last"}), tmp_path / "run", [ProgressBar()]
    )
    assert (result.status, result.best_epoch, result.validation_accuracy) == ("completed", 2, None)
    assert [line["validation_loss"] for line in read_run(tmp_path / "run").metrics] == [None, None]
    assert evaluate(tmp_path / "run")["test_accuracy"] == result.test_accuracy
    (study,) = read_studies(tmp_path)
    figure = learning_curves(study)
    assert figure is not None
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [[], ["not measured"], [], ["not measured"]]


def test_paths_may_be_text(finished, tmp_path):
    folder, result = finished
    text = str(folder)
    assert evaluate(text)["test_loss"] == result.test_loss
    assert read_run(text).outcome == find_runs(str(folder.parent))[0].outcome == result
    assert read_status(text)[0].status == "completed"
    assert load_trained(text).inputs == load_trained(folder).inputs
    assert read_config(text) == read_run(folder).config
    assert parameters_checksum(text) == parameters_checksum(folder)
    assert read_studies(text)[0].arms[0].name == "all runs"
    assert run(config(training={"epochs": 1}), str(tmp_path / "run")).status == "completed"
