import json

import pytest

from research.benchmarks.conv import PASSES
from research.ops.conv import CONV_ALGORITHMS

SMALL = ("layers=[plain conv3]", "algorithms=[im2col,winograd4]", "batch_size=16", "rounds=2", "repeats=1")


def test_times_each_pass_and_says_what_auto_takes(call, tmp_path):
    outcome = call("benchmark_conv.py", *SMALL, "format=json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    layer = result["layers"]["plain conv3"]
    assert layer["ms"].keys() == {"im2col", "winograd4"}
    assert all(times.keys() == set(PASSES) for times in layer["ms"].values())
    times = {name: layer["ms"][name]["all"]["median"] for name in layer["ms"]}
    assert layer["chosen"] == "winograd4"
    assert layer["slower"] == times["winograd4"] / min(times.values()) >= 1
    assert layer["gflop"] == pytest.approx(2e-9 * 16 * 7 * 7 * 9 * 64 * 64)
    assert {path.suffix for path in (tmp_path / "outputs/benchmark_conv").iterdir()} == {
        ".json",
        ".svg",
        ".png",
    }


def test_prints_tables_and_leaves_out_what_is_not_supported(call):
    arguments = ("layers=[simple_resnet shortcut]", *SMALL[1:], "out=null")
    outcome = call("benchmark_conv.py", *arguments)
    assert outcome.code == 0, outcome.err
    assert "weight gradient" in outcome.out
    assert "winograd4" not in outcome.out
    assert "auto takes" in outcome.out


@pytest.mark.slow
def test_errors_are_small(call):
    errors = json.loads(call("benchmark_conv.py", "report=error", "format=json").out)
    assert errors.keys() == CONV_ALGORITHMS.keys()
    for algorithm, by_dtype in errors.items():
        limit = 1e-4 if algorithm == "winograd4" else 1e-5
        assert all(max(values) < limit for values in by_dtype["float32"].values())
        assert all(max(values) < 2e-2 for values in by_dtype["bfloat16"].values())


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("report=all", "report=all is not allowed; give one of error, speed"),
        ("layers=[conv9]", "layers=conv9 is not allowed; give one of 32 groups, densenet growth,"),
        ("layers=[]", "layers=[] is not allowed; give at least one name"),
        ("algorithms=[]", "algorithms=[] is not allowed; give at least one name"),
        ("rounds=1", "rounds=1 is not allowed; give a whole number, at least 2"),
    ],
)
def test_a_mistake_is_one_sentence(call, argument, sentence):
    outcome = call("benchmark_conv.py", argument)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
