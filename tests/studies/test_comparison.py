import csv
import json
import re

import pytest

from research.records import RecordError
from research.studies.comparison import draw_comparison, summarize_comparison, write_comparison
from research.studies.report.write import write_report


def measured(seed: int, train_s: float, compile_s: float | None = 2.0) -> dict:
    return {
        "seed": seed,
        "accuracy": 0.98 + 0.001 * seed,
        "compile_s": compile_s,
        "first_step_s": 2.5,
        "train_s": train_s + seed,
        "images_per_s": 1000 / train_s,
        "peak_mib": 300.0,
        "load_average": 2.0 + seed,
        "num_parameters": 105_866,
        "threads": {"num_threads": 2, "processors": [0, 1]},
        "versions": {"jax": "0.10.1"},
    }


def row(status="completed", rounds=(), parity=None, error=None) -> dict:
    install = "pip install <some|thing>"
    return {"status": status, "install": install, "error": error, "parity": parity, "rounds": list(rounds)}


def agreed(gradient_error: float | None = 1e-7) -> dict:
    return {
        "gradient_error": gradient_error,
        "worst_array": "conv1/bias",
        "loss_error": 1e-6,
        "holds": gradient_error is not None,
        "repeatable": True,
    }


@pytest.fixture
def measurements() -> dict:
    return {
        "config": {
            "data": "mnist",
            "seeds": [0, 1, 2],
            "num_threads": 2,
            "epochs": 3,
            "batch_size": 128,
            "optimizer": "adam",
            "learning_rate": 1e-3,
        },
        "parity": {"gradient_tolerance": 1e-5, "loss_tolerance": 1e-3, "num_steps": 50, "num_starts": 3},
        "num_train": 54_000,
        "num_test": 10_000,
        "provenance": {},
        "frameworks": {
            "numpy": row(rounds=[measured(seed, 40, None) for seed in range(3)], parity=agreed()),
            "jax_im2col": row(rounds=[measured(seed, 20) for seed in range(3)], parity=agreed()),
            "torch": row(rounds=[measured(0, 10, None)], parity=agreed()),
            "flax_nnx": row("parity failed", parity=agreed(None)),
            "keras_jax": row("not installed"),
            "keras_torch": row("failed", error="exit code -6: a|b"),
        },
        "small": {"tiny": row(rounds=[measured(0, 3.0)])},
    }


def test_results(measurements):
    results = summarize_comparison(measurements)
    rows = results["frameworks"]
    assert list(rows) == list(measurements["frameworks"])
    assert rows["jax_im2col"]["accuracy"]["mean"] == pytest.approx(0.981)
    assert rows["jax_im2col"]["accuracy"]["low"] < 0.981 < rows["jax_im2col"]["accuracy"]["high"]
    assert rows["jax_im2col"]["train_s"]["mean"] == pytest.approx(21)
    assert rows["jax_im2col"]["compile_s"]["mean"] == 2
    assert rows["numpy"]["compile_s"] is None
    assert rows["torch"]["accuracy"] == {"n": 1, "mean": 0.98, "deviation": None, "low": None, "high": None}
    assert rows["flax_nnx"]["status"] == "parity failed"
    assert rows["flax_nnx"]["train_s"] is rows["keras_jax"]["accuracy"] is None
    assert list(results["small"]) == ["reference", "tiny"]
    json.dumps(results, allow_nan=False)


def test_report_shows_every_framework_and_what_became_of_it(measurements, tmp_path):
    (tmp_path / "measurements.json").write_text(json.dumps(measurements))
    report = write_comparison(tmp_path).read_text()
    assert "| torch | 1 | 98.00 | 10.00 | 100 | — | 2.50 | 300 | 2 |" in report
    assert "| keras_jax | 0 | not installed: pip install &lt;some\\|thing&gt; | — |" in report
    assert "| keras_torch | 0 | failed: exit code -6: a\\|b | — |" in report
    assert "| flax_nnx | parity failed | — |" in report
    assert (
        "torch trained fastest, in 10.00 s; jax_im2col, this codebase's own, took 2.10 times as long."
        in report
    )
    assert "at most 4.0 when a measurement began, of which 2 are" in report
    assert "| torch | 1 | 98.00 | 10.00 | 100 | 300 | 98.7 | 12.1 |" in report
    assert "| jax_im2col | 3 | 98.10 [97.85, 98.35] | 21.00 [18.52, 23.48] | 50.00 | 300 | — | — |" in report
    assert "accuracy: Keras &gt; PyTorch &gt; NumPy | not decidable at this n | 0 |" in report
    assert {path.name for path in tmp_path.iterdir()} == {
        "measurements.json",
        "results.json",
        "report.md",
        "comparison.svg",
        "comparison.png",
    }


def test_ours_may_be_the_fastest(measurements, tmp_path):
    del measurements["frameworks"]["torch"]
    measurements["config"]["data"] = "digits"
    (tmp_path / "measurements.json").write_text(json.dumps(measurements))
    report = write_comparison(tmp_path).read_text()
    assert "jax_im2col trained fastest, in 21.00 s." in report
    assert "Published" not in report


def test_figure_has_three_panels_and_only_what_was_measured(measurements):
    figure = draw_comparison(summarize_comparison(measurements))
    assert figure is not None
    assert [axes.get_title(loc="left")[0] for axes in figure.axes] == ["a", "b", "c"]
    figure.draw_without_rendering()
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["numpy", "jax_im2col", "torch"]


def test_nothing_measured_is_a_report_without_a_figure(measurements, tmp_path):
    measurements["frameworks"] = {"torch": row("not installed")}
    measurements["small"] = {}
    (tmp_path / "measurements.json").write_text(json.dumps(measurements))
    assert "comparison.svg" not in write_comparison(tmp_path).read_text()
    assert not (tmp_path / "comparison.svg").exists()


@pytest.mark.parametrize("content", ["", "{}", '{"frameworks": {"a": {}}, "small": {}}'])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "measurements.json").write_text(content)
    with pytest.raises(RecordError, match=r"measurements\.json is damaged"):
        write_comparison(tmp_path)


def test_a_report_of_runs_takes_up_the_comparison_beside_them(measurements, tmp_path, write, make_plan):
    write(tmp_path / "runs" / "depth" / "1", make_plan("depth 1"))
    (tmp_path / "runs" / "frameworks").mkdir()
    (tmp_path / "runs" / "frameworks" / "measurements.json").write_text(json.dumps(measurements))
    report = write_report(tmp_path / "runs", tmp_path / "out").read_text()
    assert "## depth" in report
    assert "## One network in several frameworks" in report
    assert "](figures/frameworks/comparison.svg)" in report
    assert (tmp_path / "out" / "figures" / "frameworks" / "comparison.svg").exists()
    assert "One network in several frameworks" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "runs" / "report.md").exists()
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    (first,) = [row for row in rows if row["arm"] == "jax_im2col" and row["seed"] == "0"]
    assert (first["study"], first["status"], first["test_accuracy"]) == ("frameworks", "completed", "0.98")
    assert (first["train_seconds"], first["compile_seconds"], first["epochs"]) == ("20", "2.0", "3")
    (failed,) = [row for row in rows if row["arm"] == "keras_torch"]
    assert (failed["status"], failed["counted"], failed["error"]) == ("failed", "False", "exit code -6: a|b")
    published = (tmp_path / "out" / "published.md").read_text()
    assert re.findall("^## (.*)", published, re.MULTILINE) == [
        "Published claims",
        "depth",
        "One network in several frameworks",
    ]
    assert (
        "| frameworks | accuracy: Keras &gt; PyTorch &gt; NumPy | not decidable at this n | 0 |" in published
    )
    assert "| depth 1 | 1 | 90.00 | descriptive only | 16,010 | 3.0 |" in published
    assert "figures/" not in published
