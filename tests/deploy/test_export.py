"""Export of a run; what reads a file back is the program of others that reads such files."""

import json
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from research import records
from research.config import ConfigError
from research.deploy import export as module
from research.deploy.export import ExportError, export
from research.deploy.formats import inference
from research.deploy.predict import Predictor
from research.layers.base import by_path
from research.models import MODELS
from research.ops.conv import CONV_ALGORITHMS
from research.runs.load import load_trained


@pytest.fixture(scope="module")
def onnx_folder(run_folder, tmp_path_factory):
    pytest.importorskip("jax2onnx")
    out = tmp_path_factory.mktemp("export") / "onnx"
    export(run_folder, "onnx", out)
    return out


def logits_of(run_folder, images):
    trained = load_trained(run_folder)
    function = module.make_predict(trained.net, trained.preprocess, trained.config.training.tta)
    return np.asarray(function(trained.params, trained.model_state, images))


def test_onnx_runtime_computes_the_logits_of_the_run(run_folder, onnx_folder):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(onnx_folder / "model.onnx")
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["N", 8, 8, 1])
    examples = records.read_run(run_folder).arrays()["example_images"]
    expected = logits_of(run_folder, examples)
    for count in (1, 7, len(examples)):
        (found,) = session.run(None, {"images": examples[:count]})
        assert np.abs(found - expected[:count]).max() <= 1e-5 * np.abs(expected).max()
    props = session.get_modelmeta().custom_metadata_map
    assert json.loads(props["class_names"]) == list("0123456789")
    assert (json.loads(props["image_shape"]), props["resizing"]) == ([8, 8, 1], "crop")
    kinds = [node.op_type for node in onnx.load(onnx_folder / "model.onnx").graph.node]
    assert kinds.count("Conv") == 2  # of the two views of the test-time augmentation
    report = json.loads((onnx_folder / "model.onnx.check.json").read_text())
    assert report["batch_norms"] == {"folded": 1, "kept": 0}
    assert [check["images"] for check in report["checks"].values()] == [len(examples), 64]
    assert all(0 <= check["relative_difference"] <= 1e-5 for check in report["checks"].values())


def test_the_example_needs_neither_jax_nor_this_package(run_folder, onnx_folder, tmp_path):
    for index, mode in enumerate(("RGB", "L", "P", "RGBA")):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"IMG ({index}).png")
    paths = sorted(map(str, tmp_path.glob("*.png")))
    code = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(('jax', 'jaxlib', 'scipy', 'research')));"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )  # a module that is None cannot be imported
    called = [sys.executable, "-I", "-c", code, str(onnx_folder / "example.py"), *paths, "missing.png"]
    done = subprocess.run(called, capture_output=True, text=True, timeout=60)
    expected = Predictor.from_run(run_folder)(paths)
    lines = [f"{each.path}  {each.class_name}  {each.probability:.4f}" for each in expected]
    assert done.stdout.splitlines() == lines, done.stderr
    assert (done.returncode, "missing.png: " in done.stderr) == (1, True)


def test_stablehlo_is_lowered_for_three_platforms_and_any_number_of_images(run_folder, tmp_path):
    pytest.importorskip("flatbuffers")
    report = export(run_folder, "stablehlo", tmp_path)
    loaded = jax.export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert loaded.platforms == ("cpu", "cuda", "tpu")
    images = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 1), np.uint8)
    expected = logits_of(run_folder, images)
    assert np.abs(loaded.call(images) - expected).max() <= 1e-5 * np.abs(expected).max()
    assert report["executed_on"] == "cpu"


@pytest.mark.parametrize("algorithm", CONV_ALGORITHMS)
def test_every_algorithm_is_exported_as_lax(run_folder, algorithm):
    trained = load_trained(run_folder)
    net = MODELS["plain"]((8, 8, 1), 10, depth=1, widths=(4,), norm="batch", algorithm=algorithm)
    (count,) = jax.export.symbolic_shape("N")
    images = jax.ShapeDtypeStruct((count, 8, 8, 1), np.uint8)
    function = jax.jit(inference(trained._replace(net=net), "float32"))
    assert "convolution" in function.lower(images).as_text()


@pytest.mark.parametrize("name", ["onnx", "stablehlo"])
def test_a_run_in_bfloat16_is_exported(run_folder, name):
    chosen = module.EXPORT_FORMATS[name]
    for package in chosen.packages:
        pytest.importorskip(package)
    trained = load_trained(run_folder)
    trained = trained._replace(preprocess=replace(trained.preprocess, dtype="bfloat16"))
    examples = records.read_run(run_folder).arrays()["example_images"]
    checks = module.compare(chosen.load(chosen.write(trained), trained), trained, examples)
    assert all(0 < check["relative_difference"] <= 1e-2 for check in checks.values())


def test_safetensors_has_the_names_and_values_of_the_run(run_folder, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    export(run_folder, "safetensors", tmp_path)
    trained = load_trained(run_folder)
    expected = by_path({"params": trained.params, "model_state": trained.model_state})
    with safetensors.safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["class_names"]) == list("0123456789")
        assert sorted(file.keys()) == sorted(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)


def test_a_file_that_computes_something_else_is_not_written(run_folder, tmp_path, monkeypatch):
    chosen = module.EXPORT_FORMATS["safetensors"]
    wrong = chosen._replace(packages=(), load=lambda content, trained: lambda x: np.zeros((len(x), 10)))
    monkeypatch.setitem(module.EXPORT_FORMATS, "safetensors", wrong._replace(write=lambda trained: b"wrong"))
    with pytest.raises(ExportError, match="of the largest logit on the test split, more than 1e-05; no file"):
        export(run_folder, "safetensors", tmp_path / "out")
    missing = wrong._replace(packages=("no_such_package",))
    monkeypatch.setitem(module.EXPORT_FORMATS, "safetensors", missing)
    with pytest.raises(ConfigError, match=r"needs no_such_package: pip install 'cnn-research\[export\]'"):
        export(run_folder, "safetensors", tmp_path / "out")
    with pytest.raises(ConfigError, match="--format=tflite is not allowed; give one of onnx"):
        export(run_folder, "tflite", tmp_path / "out")
    assert not (tmp_path / "out").exists()
