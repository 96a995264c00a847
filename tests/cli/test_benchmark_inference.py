import json

import pytest

from research.benchmarks.inference import IMPLEMENTATIONS


def test_ours_is_timed(call, run_folder, monkeypatch):
    arguments = run_folder, "--batch-sizes=1", "--implementations=ours", "--rounds=2", "--seconds=0"
    text = call("benchmark_inference.py", *arguments)
    assert (text.code, text.err) == (0, "")
    assert text.out.splitlines()[1].split()[:3] == ["batch", "1", "ms"]
    assert text.out.splitlines()[2].split()[0] == "ours"
    monkeypatch.setitem(
        IMPLEMENTATIONS, "torch", IMPLEMENTATIONS["torch"]._replace(packages=("no_such_one",))
    )
    missing = call("benchmark_inference.py", *arguments, "--implementations=ours,torch")
    assert missing.out.splitlines()[-1] == (
        "torch: no_such_one not installed: pip install 'cnn-research[frameworks]'"
    )
    alone = call("benchmark_inference.py", *arguments, "--implementations=torch")
    assert (alone.code, alone.out.splitlines()[1:]) == (0, missing.out.splitlines()[-1:])
    result = json.loads(call("benchmark_inference.py", *arguments, "--format=json").out)
    assert list(result["sizes"]) == ["1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-sizes=8,0"], "--batch-sizes=8,0 is not allowed; give numbers, such as 1,8,64,256"),
        (
            ["--implementations=tflite"],
            "--implementations=tflite is not allowed; give one of onnxruntime, onnxruntime_int8",
        ),
        (["--rounds=1"], "--rounds=1 is not allowed; give a whole number, at least 2"),
        ([], "nowhere is not a run: it holds no config.yaml"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(call, arguments, message):
    refused = call("benchmark_inference.py", "nowhere", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"benchmark_inference.py: {message}")
