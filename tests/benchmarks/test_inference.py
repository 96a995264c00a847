import numpy as np
import pytest

from research.benchmarks.inference import IMPLEMENTATIONS, InferenceBenchmarkConfig, benchmark_inference


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning"
)  # torch.compile imports what it deprecates
@pytest.mark.parametrize(
    "names", [("ours", "ours_lax", "torch"), pytest.param(tuple(IMPLEMENTATIONS), marks=pytest.mark.slow)]
)
def test_every_implementation_computes_the_same_logits(run_with_batch_norm, names):
    result = benchmark_inference(
        run_with_batch_norm, InferenceBenchmarkConfig(rounds=2, seconds=0), [3], names
    )
    rows = result["sizes"][3]
    assert set(rows) | set(result["skipped"]) == set(names)
    for name, row in rows.items():
        assert row["difference"] < (0.2 if name == "onnxruntime_int8" else 1e-4)
        assert 0 < row["fastest_ms"] <= row["median_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["images_per_s"] == pytest.approx(3e3 / row["median_ms"])
        assert row["num_calls"] == 2
        assert np.isfinite([*row.values()]).all()
