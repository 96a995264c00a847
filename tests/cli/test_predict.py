import csv
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from research.utils.files import seal, unseal


def test_predictions_in_three_forms(call, run_folder, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in ("IMG (1).png", "b,=ö.png"):
        Image.fromarray(np.full((20, 30), 90, np.uint8)).save(tmp_path / "photos" / name)
    table = call("predict.py", run_folder, "photos")
    assert (table.code, table.err) == (0, "")
    lines = table.out.splitlines()
    assert lines[0].split() == ["path", "class", "probability", "next"]
    assert [line[: len("photos/IMG (1).png")].strip() for line in lines[1:]] == [
        "photos/IMG (1).png",
        "photos/b,=ö.png",
    ]

    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO("photos/b,=ö.png\n\nmissing.png\n".encode()))
    )
    text = call("predict.py", run_folder, "-", "--format=json", "--top=2")
    assert text.code == 1
    good, bad = json.loads(text.out)
    assert list(good) == list(bad) == ["path", "class", "probability", "top", "error"]
    assert good["top"][0] == {"class": good["class"], "probability": good["probability"]}
    assert (len(good["top"]), good["error"]) == (2, None)
    assert (bad["class"], bad["error"]) == (None, "No such file or directory")

    twice = call("predict.py", run_folder, "photos/b,=ö.png", "--format=json", "--with", run_folder)
    (found,) = json.loads(twice.out)
    assert (found["class"], found["probability"]) == (good["class"], pytest.approx(good["probability"]))

    alone, together = (call("evaluate.py", run_folder, *words) for words in ((), ("--with", run_folder)))
    accuracy, scores = (outcome.out.splitlines()[1] for outcome in (alone, together))
    assert accuracy == scores
    assert accuracy.startswith("test accuracy 0.")
    shutil.copytree(run_folder, "other")
    result = unseal(Path("other/result.json").read_text())
    result["provenance"]["xla_flags"] = "--xla_cpu_enable_fast_math=true"
    Path("other/result.json").write_text(seal(result))
    refused = call("evaluate.py", run_folder, "--with", "other")
    assert (refused.code, refused.out) == (2, "")
    assert 'other was made with XLA_FLAGS="--xla_cpu_enable_fast_math=true" and not with' in refused.err

    sheet = call("predict.py", run_folder, "photos/b,=ö.png", "missing.png", "--format=csv", "--top=2")
    rows = list(csv.DictReader(io.StringIO(sheet.out)))
    assert list(rows[0]) == ["path", "class", "probability", "class_2", "probability_2", "error"]
    assert float(rows[0]["probability"]) == good["probability"]
    assert (rows[1]["path"], rows[1]["class"], rows[1]["error"]) == ("missing.png", "", bad["error"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top=0"], "--top=0 is not allowed; give a whole number, at least 1"),
        (["--format=xml"], "--format=xml is not allowed; give one of csv, json, table"),
        (["--tta=spin"], "--tta=spin is not allowed; give one of flip, flip_shift, none"),
        ([], "nowhere is not a run: it holds no config.yaml"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(call, arguments, message):
    refused = call("predict.py", "nowhere", "x.png", *arguments)
    assert (refused.code, refused.out, refused.err) == (2, "", f"predict.py: {message}\n")


def test_arguments_in_the_wrong_order_are_refused(call, run_folder, tmp_path):
    (tmp_path / "photos").mkdir()
    refused = call("predict.py", "photos", run_folder)
    assert (refused.code, refused.err) == (2, "predict.py: photos is not a run: it holds no config.yaml\n")
