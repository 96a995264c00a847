"""The formats to which a trained network is exported: how each is written, and run for the verification."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from research.deploy.fold import fold_batch_norm
from research.deploy.prune import remove_channels
from research.layers.base import by_path
from research.layers.rewrite import rewrite
from research.runs.load import TrainedNetwork
from research.training.evaluate import make_predict
from research.training.tta import average_views
from research.utils.cpus import num_cpus
from research.utils.strict import to_plain

Logits = Callable[[np.ndarray], np.ndarray]
"""A function from pixels `[N, H, W, C]` (uint8) to logits `[N, K]` (float32)."""

PLATFORMS = ("cpu", "cuda", "tpu")
"""The platforms for which a StableHLO program is lowered."""


class Format(NamedTuple):
    """A format of exported networks.

    Args:
        file: the name of the file.
        packages: the packages that are needed, by the names under which they are imported.
        write: returns the bytes of the file for a network.
        load: returns a function that computes logits from the bytes of the file. Only a format that holds
            parameters alone also needs the network.
    """

    file: str
    packages: tuple[str, ...]
    write: Callable[[TrainedNetwork], bytes]
    load: Callable[[bytes, TrainedNetwork], Logits]


def inference(trained: TrainedNetwork, dtype: str) -> Callable[[jax.Array], jax.Array]:
    """Return the function that is exported: from pixels `[N, H, W, C]` (uint8) to logits `[N, K]` (float32).

    Preprocessing and the run's test-time augmentation are part of it, channels that are not used are removed,
    batch normalisation is folded, and every convolution is computed by `lax`, whose program does not depend
    on the number of images.

    Args:
        trained: the network.
        dtype: the dtype in which the network computes.
    """
    net, params, state = remove_channels(trained.net, trained.params, trained.model_state)
    net, params, state = fold_batch_norm(net, params, state)
    params, state = jax.device_get((params, state))
    net = rewrite(
        net, lambda layer: replace(layer, algorithm="lax") if hasattr(layer, "algorithm") else layer
    )
    preprocess = replace(trained.preprocess, dtype=dtype)

    def view(images: jax.Array) -> jax.Array:
        return net.apply(params, state, preprocess(images), train=False)[0].astype(jnp.float32)

    return lambda images: average_views(view, images, trained.config.training.tta)


def metadata(trained: TrainedNetwork) -> dict[str, str]:
    """Return what the user of a file must know about images and classes, as text by key."""
    inputs = to_plain(trained.inputs)
    values = {"model": to_plain(trained.config.model), "tta": trained.config.training.tta, **inputs}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def write_stablehlo(trained: TrainedNetwork) -> bytes:
    """Return the program as `jax.export` serialises it, for each of `PLATFORMS` and any number of images."""
    function = jax.jit(inference(trained, trained.preprocess.dtype))
    return bytes(export.export(function, platforms=PLATFORMS)(_images(trained)).serialize())


def load_stablehlo(content: bytes, trained: TrainedNetwork) -> Logits:
    """Return the program of the file, on the default device."""
    call = export.deserialize(bytearray(content)).call
    return lambda images: np.asarray(call(images))


def write_onnx(trained: TrainedNetwork) -> bytes:
    """Return an ONNX model with the input `images`, the output `logits` and any number of images.

    It computes in float32, since ONNX Runtime has no convolution in bfloat16 on the CPU.
    """
    import onnx
    from jax2onnx import to_onnx

    logging.getLogger("onnx_ir.serde").setLevel(logging.ERROR)  # it warns of shapes that it leaves out
    model: Any = to_onnx(
        inference(trained, "float32"),
        [_images(trained)],
        model_name=trained.config.model.name,
        input_names=["images"],
        output_names=["logits"],
    )
    onnx.helper.set_model_props(model, metadata(trained))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def load_onnx(content: bytes, trained: TrainedNetwork) -> Logits:
    """Return the model of the file, run by ONNX Runtime on the processors that this process may use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_cpus()  # by default there is a thread for each core of the machine
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(["logits"], {"images": images})[0])


def write_safetensors(trained: TrainedNetwork) -> bytes:
    """Return the parameters and the state under their names, such as `params/conv1/kernel`."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in by_path(_tree(trained)).items()}
    return save(arrays, metadata(trained))


def load_safetensors(content: bytes, trained: TrainedNetwork) -> Logits:
    """Return the network with the parameters of the file."""
    from safetensors.numpy import load

    arrays = load(content)
    names, structure = by_path(_tree(trained)), jax.tree.structure(_tree(trained))
    tree = jax.tree.unflatten(structure, [arrays[name] for name in names])
    predict = jax.jit(make_predict(trained.net, trained.preprocess, trained.config.training.tta))
    return lambda images: np.asarray(predict(tree["params"], tree["model_state"], images))


def _tree(trained: TrainedNetwork) -> dict[str, Mapping[str, Any]]:
    return {"params": trained.params, "model_state": trained.model_state}


def _images(trained: TrainedNetwork) -> jax.ShapeDtypeStruct:
    """Return the shape of images, of which there may be any number."""
    (count,) = export.symbolic_shape("N", constraints=["N >= 1"])
    return jax.ShapeDtypeStruct((count, *trained.inputs.image_shape), jnp.uint8)


EXPORT_FORMATS = {
    "stablehlo": Format("model.stablehlo", ("flatbuffers",), write_stablehlo, load_stablehlo),
    "onnx": Format("model.onnx", ("jax2onnx", "onnx", "onnxruntime"), write_onnx, load_onnx),
    "safetensors": Format("model.safetensors", ("safetensors",), write_safetensors, load_safetensors),
}
"""The formats by the name that `--format` gives."""
