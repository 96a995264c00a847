"""Smaller forms of an exported ONNX model: int8 and bfloat16."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

READERS = {"Conv": 0, "MatMul": 1, "Gemm": 1}
"""The operations whose second input is a kernel, and the axis of its output channels."""

CALIBRATION_BATCH = 64
"""The number of images that ONNX Runtime computes at a time during the calibration."""


def quantize_int8(content: bytes, images: np.ndarray) -> bytes:
    """Return a model that computes its convolutions and dense layers in int8.

    ONNX Runtime measures the ranges of activations on some images. Each output channel of a kernel has a
    scale of its own. All other operations stay in float32.

    Args:
        content: an ONNX model with the input `images`.
        images: the images of the calibration `[N, H, W, C]`, uint8.

    Source: Jacob et al. (2018), Quantization and training of neural networks, section 2.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = _batches(images)

        def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore (None ends the images)
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "quantized.onnx"
        quantize_static(
            _prepared(content, Path(folder)),
            quantized,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=list(READERS),
            per_channel=True,
        )
        return quantized.read_bytes()


def quantize_weights(content: bytes) -> bytes:
    """Return a model whose kernels are stored in int8, with a scale for each output channel.

    ONNX Runtime converts the kernels to float32 by DequantizeLinear, and computes in float32.

    Args:
        content: an ONNX model.
    """
    from onnx import helper, numpy_helper

    def encode(kernel: np.ndarray, name: str, axis: int) -> tuple[list[Any], Any]:
        others = tuple(index for index in range(kernel.ndim) if index != axis)
        scale = np.maximum(np.abs(kernel).max(others), np.finfo(np.float32).tiny) / 127
        shape = [-1 if index == axis else 1 for index in range(kernel.ndim)]
        integers = np.rint(kernel / scale.reshape(shape)).astype(np.int8)
        arrays = {f"{name}_int8": integers, f"{name}_scale": scale.astype(np.float32)}
        stored = [numpy_helper.from_array(array, key) for key, array in arrays.items()]
        return stored, helper.make_node("DequantizeLinear", [*arrays], [name], axis=axis)

    return _store_kernels(content, encode)


def to_bfloat16(content: bytes) -> bytes:
    """Return a model whose kernels are stored in bfloat16. ONNX Runtime computes in float32 on the CPU.

    Args:
        content: an ONNX model.
    """
    import ml_dtypes
    from onnx import TensorProto, helper

    def encode(kernel: np.ndarray, name: str, axis: int) -> tuple[list[Any], Any]:
        del axis
        raw = kernel.astype(ml_dtypes.bfloat16).tobytes()
        key = f"{name}_bfloat16"
        stored = helper.make_tensor(key, TensorProto.BFLOAT16, kernel.shape, raw, raw=True)
        return [stored], helper.make_node("Cast", [key], [name], to=TensorProto.FLOAT)

    return _store_kernels(content, encode)


def _store_kernels(content: bytes, encode: Callable[[np.ndarray, str, int], tuple[list[Any], Any]]) -> bytes:
    """Return a model in which each kernel is stored in another form.

    Args:
        content: an ONNX model.
        encode: a function of a kernel, its name and the axis of its output channels. It returns the tensors
            that are stored, and the node that computes the kernel from these tensors.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(_prepared(content, Path(folder)))
    graph = model.graph
    kernels = {
        node.input[1]: READERS[node.op_type] if not _is_transposed(node) else 0
        for node in graph.node
        if node.op_type in READERS
    }
    nodes = []
    for tensor in list(graph.initializer):
        if tensor.name in kernels and len(tensor.dims) > 1:
            array = onnx.numpy_helper.to_array(tensor)
            stored, node = encode(array, tensor.name, kernels[tensor.name])
            graph.initializer.remove(tensor)
            graph.initializer.extend(stored)
            nodes.append(node)
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _is_transposed(node: Any) -> bool:
    """Return whether a Gemm reads its kernel transposed, so that the output channels are its first axis."""
    return any(each.name == "transB" and each.i for each in node.attribute)


def _prepared(content: bytes, folder: Path) -> Path:
    """Write the model to a folder after folding its constants, so that its kernels are initializers."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    path, options = folder / "prepared.onnx", onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    scalars = {each.name for each in model.graph.initializer if not each.dims}
    for node in model.graph.node:
        if node.op_type == "Gemm" and len(node.input) == 3 and node.input[2] in scalars:
            del node.input[2]  # a scalar zero of jax2onnx; the quantizer needs one number for each channel
    add_pre_process_metadata(model)  # otherwise the quantizer logs that nothing was prepared
    onnx.save(model, path)
    return path


def _batches(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of the model in batches."""
    for start in range(0, len(images), CALIBRATION_BATCH):
        yield {"images": images[start : start + CALIBRATION_BATCH]}
