"""Smaller forms of an exported network; ONNX Runtime reads them back."""

import numpy as np
import pytest
from PIL import Image

from research.config import ConfigError
from research.deploy import compress as module
from research.deploy.compress import calibration_images, compress
from research.deploy.formats import load_onnx, write_onnx
from research.deploy.prune import prune_trained
from research.deploy.quantize import quantize_int8, quantize_weights, to_bfloat16
from research.records import read_run
from research.runs.load import load_data, load_trained


@pytest.fixture(scope="module")
def trained(run_folder):
    return load_trained(run_folder)


@pytest.fixture(scope="module")
def content(trained):
    return write_onnx(trained)


@pytest.fixture(scope="module")
def images(run_folder):
    return load_data(run_folder).test.images[:64]


def difference(found: bytes, content: bytes, trained, images) -> float:
    expected = load_onnx(content, trained)(images)
    return float(np.abs(load_onnx(found, trained)(images) - expected).max() / np.abs(expected).max())


def test_kernels_in_int8_have_a_scale_for_each_channel(content, trained, images):
    onnx = pytest.importorskip("onnx")
    found = quantize_weights(content)
    arrays = {
        each.name: onnx.numpy_helper.to_array(each) for each in onnx.load_from_string(found).graph.initializer
    }
    kernels = {name.removesuffix("_int8"): array for name, array in arrays.items() if array.dtype == np.int8}
    assert sorted(array.size for array in kernels.values()) == [
        36,
        36,
        160,
        160,
    ]  # of the two views of the test-time augmentation
    name = next(name for name, array in kernels.items() if array.ndim == 4)
    conv = np.asarray(trained.params["conv1"]["kernel"]) * np.asarray(trained.params["norm1"]["scale"])
    conv = conv / np.sqrt(np.asarray(trained.model_state["norm1"]["variance"]) + 1e-5)
    scale = arrays[f"{name}_scale"]
    np.testing.assert_allclose(scale, np.abs(conv).max((0, 1, 2)) / 127, rtol=1e-5)
    restored = (kernels[name] * scale[:, None, None, None]).transpose(2, 3, 1, 0)
    assert np.abs(restored - conv).max() <= 0.5001 * scale.max()
    assert 0 < difference(found, content, trained, images) < 0.02


def test_convolutions_in_int8_are_calibrated_on_images(content, trained, images):
    onnx = pytest.importorskip("onnx")
    found = quantize_int8(content, images)
    nodes = onnx.load_from_string(found).graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            assert {made_by[name] for name in node.input[:2]} == {"DequantizeLinear"}
    assert 0 < difference(found, content, trained, images) < 0.05
    dark = quantize_int8(content, np.zeros_like(images))  # its ranges do not hold other images
    assert difference(dark, content, trained, images) > 0.2


def test_kernels_in_bfloat16_are_rounded(content, trained, images):
    found = to_bfloat16(content)
    assert 0 < difference(found, content, trained, images) < 0.01
    nodes = 4 * 150  # bytes of the new nodes, at most
    assert len(content) - len(found) > 2 * 2 * (36 + 160) - nodes


def test_a_pruned_network_is_written_with_a_report(run_folder, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "median_milliseconds", lambda call: call() is not None)
    small = prune_trained(trained, 0.5, "channel")
    report = compress(small, run_folder, "int8_weights", out=tmp_path)
    test = load_data(run_folder).test
    logits = load_onnx((tmp_path / "model_int8_weights.onnx").read_bytes(), trained)(np.asarray(test.images))
    assert report["after"]["accuracy"] == (logits.argmax(-1) == test.labels).mean()
    assert report["after"]["bytes"] == report["path"].stat().st_size < report["before"]["bytes"]
    assert (tmp_path / "model_int8_weights.onnx.check.json").exists()
    with pytest.raises(
        ConfigError, match="--to=int4 is not allowed; give one of bfloat16, float32, int8, int8"
    ):
        compress(small, run_folder, "int4")
    with pytest.raises(ConfigError, match="--calibrate=photos is not allowed with --to=float32, which"):
        compress(small, run_folder, "float32", calibrate="photos")


def test_images_of_the_calibration_come_from_a_folder_or_the_training_split(run_folder, trained, tmp_path):
    run = read_run(run_folder)
    assert calibration_images(run, trained, None).shape == (len(load_data(run).train.labels), 8, 8, 1)
    Image.fromarray(np.full((16, 20), 90, np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(calibration_images(run, trained, tmp_path), np.full((1, 8, 8, 1), 90))
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(
        ConfigError, match=r"--calibrate=.* is not allowed: .*b\.png cannot be read: it cannot"
    ):
        calibration_images(run, trained, tmp_path)
