import numpy as np
import pytest

from research.benchmarks.inference import IMPLEMENTATIONS, InferenceBenchmarkConfig, benchmark_inference
from research.config import Config
from research.runs.run import run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inference") / "run"
    values = {
        "model": {"name": "plain", "depth": 1, "widths": [4], "norm": "batch"},
        "data": {"train_limit": 64},
        "training": {"epochs": 1, "batch_size": 32, "tta": "flip"},
    }
    assert run(Config.from_dict(values), folder).status == "completed"
    return folder


@pytest.mark.parametrize(
    "names", [("ours", "ours_lax", "torch"), pytest.param(tuple(IMPLEMENTATIONS), marks=pytest.mark.slow)]
)
def test_every_implementation_computes_the_same_logits(run_folder, names):
    result = benchmark_inference(run_folder, InferenceBenchmarkConfig(rounds=2, seconds=0), [3], names)
    rows = result["sizes"][3]
    assert set(rows) | set(result["skipped"]) == set(names)
    for name, row in rows.items():
        assert row["difference"] < (0.2 if name == "onnxruntime_int8" else 1e-4)
        assert 0 < row["fastest_ms"] <= row["median_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["images_per_s"] == pytest.approx(3e3 / row["median_ms"])
        assert row["num_calls"] == 2
        assert np.isfinite([*row.values()]).all()
