"""The time and memory of a trained network's inference, in this package and in other programs.

Each implementation is a function of a trained network and a number of images. It returns a function from that
many images (uint8) to logits, and imports its packages when it is called.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from research.benchmarks.other_frameworks import torch_device
from research.benchmarks.timing import time_call
from research.deploy.compile import compile_inference
from research.deploy.formats import EXPORT_FORMATS, Logits, write_onnx
from research.deploy.quantize import quantize_int8
from research.frameworks.networks.names import flatten
from research.layers.rewrite import with_algorithm
from research.runs.load import TrainedNetwork, load_trained
from research.runs.settings import run_settings
from research.utils.constraints import Between
from research.utils.memory import give_back_memory, peak_memory, resident_memory

BATCH_SIZES = (1, 8, 64, 256)

WARM_UP_SECONDS = 0.05
"""How long an implementation computes before it is timed in a round.

The threads of ONNX Runtime and PyTorch keep a core busy for a while after a call, which slows the next
implementation.
"""


@dataclass(frozen=True)
class InferenceBenchmarkConfig:
    """How to time.

    Args:
        rounds: number of rounds, in each of which every implementation is timed once, in turn.
        seconds: how long an implementation is timed in a round; at least one call.
    """

    rounds: Annotated[int, Between(2)] = 20
    seconds: Annotated[float, Between(0)] = 0.1


MakeLogits = Callable[[TrainedNetwork, int], Logits]
"""A function of a trained network and a number of images, which may raise `NotImplementedError`."""


class Implementation(NamedTuple):
    """An implementation of a trained network.

    Args:
        make: builds the implementation.
        packages: the packages that are needed, by the names under which they are imported.
        extra: the extra of this package that installs them.
    """

    make: MakeLogits
    packages: tuple[str, ...] = ()
    extra: str = ""


def ours(trained: TrainedNetwork, batch_size: int, algorithm: str | None = None) -> Logits:
    """Return our network, compiled for a number of images.

    Args:
        trained: the network.
        batch_size: the number of images.
        algorithm: the algorithm of the convolutions whose algorithm is `auto`; `None` takes the one that
            `choose_inference_algorithm` returns for this number of images.
    """
    if algorithm is not None:
        trained = trained._replace(net=with_algorithm(trained.net, algorithm))
    return compile_inference(trained, [batch_size])


def onnx_runtime(trained: TrainedNetwork, batch_size: int) -> Logits:
    """Return the exported network in ONNX Runtime, in float32."""
    del batch_size  # the exported network takes any number of images
    return EXPORT_FORMATS["onnx"].load(write_onnx(trained), trained)


def onnx_runtime_int8(trained: TrainedNetwork, batch_size: int) -> Logits:
    """Return the exported network in ONNX Runtime, whose convolutions and dense layers compute in int8.

    The ranges of the activations are measured on noise, since the time does not depend on them. So the
    logits say nothing about the accuracy in int8, which `deploy.compress` measures.
    """
    del batch_size
    shape = (64, *trained.inputs.image_shape)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return EXPORT_FORMATS["onnx"].load(quantize_int8(write_onnx(trained), noise), trained)


def torch_network(trained: TrainedNetwork, batch_size: int, *, compiled: bool = False) -> Logits:
    """Return the network in PyTorch with channels last, eagerly or by `torch.compile`.

    Args:
        trained: the network.
        batch_size: the number of images.
        compiled: compile the network for this number of images.

    Raises:
        NotImplementedError: `torch.compile` fails, for example because the machine has no C++ compiler.
    """
    import torch

    from research.frameworks.networks import pytorch as networks

    place, image_shape = torch_device(), trained.inputs.image_shape
    network: Any = networks.build(trained.net, image_shape)
    networks.load(network, flatten(trained.params) | flatten(trained.model_state))
    network.to(place, memory_format=torch.channels_last).eval()
    channels = trained.preprocess.mean, trained.preprocess.std
    mean, std = (torch.tensor(each, device=place)[:, None, None] for each in channels)

    def apply(images: Any) -> Any:
        return network((images.permute(0, 3, 1, 2).float() / 255 - mean) / std)

    call = torch.compile(apply, dynamic=False) if compiled else apply
    if compiled:
        try:
            with torch.inference_mode():
                call(torch.zeros(batch_size, *image_shape, dtype=torch.uint8, device=place))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise NotImplementedError(f"torch.compile cannot compile the network: {reason}") from error

    def logits(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return call(torch.from_numpy(images).to(place)).cpu().numpy()

    return logits


IMPLEMENTATIONS: dict[str, Implementation] = {
    "ours": Implementation(ours),
    "ours_lax": Implementation(partial(ours, algorithm="lax")),
    "onnxruntime": Implementation(onnx_runtime, EXPORT_FORMATS["onnx"].packages, "export"),
    "onnxruntime_int8": Implementation(onnx_runtime_int8, EXPORT_FORMATS["onnx"].packages, "export"),
    "torch": Implementation(torch_network, ("torch",), "frameworks"),
    "torch_compiled": Implementation(partial(torch_network, compiled=True), ("torch",), "frameworks"),
}
"""The implementations by name.

`ours_lax` shows whether the algorithms that `ours` chooses are faster than `lax`.
"""


@run_settings()
def benchmark_inference(
    folder: str | Path,
    config: InferenceBenchmarkConfig | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    names: Sequence[str] = tuple(IMPLEMENTATIONS),
) -> dict[str, Any]:
    """Time the inference of a run's network from pixels to logits, without test-time augmentation.

    Args:
        folder: the folder of the run.
        config: how to time; `None` takes the defaults.
        batch_sizes: the numbers of images in a call.
        names: the names of the implementations.

    Returns:
        `run`, `device`, `skipped` (the reason, by implementation) and `sizes`. For each number of images and
        each implementation, `sizes` holds `median_ms`, `p95_ms`, `p99_ms` and `fastest_ms` of a call,
        `images_per_s`, `num_calls`, `build_s` (seconds until the network can be called), `first_call_ms`,
        `memory_mib` (the growth of the memory of this process, at its peak) and `difference` (the largest
        difference of a logit from the first implementation, as a fraction of the largest logit). On a busy
        machine, `fastest_ms` is closest to the time on a quiet machine.

    Raises:
        The errors of `load_trained`.
    """
    config, trained = config or InferenceBenchmarkConfig(), load_trained(folder)
    training = replace(trained.config.training, tta="none")
    trained = trained._replace(config=replace(trained.config, training=training))
    skipped, sizes = {}, {}
    for name in names:
        if missing := [each for each in IMPLEMENTATIONS[name].packages if find_spec(each) is None]:
            extra = IMPLEMENTATIONS[name].extra
            skipped[name] = f"{', '.join(missing)} not installed: pip install 'cnn-research[{extra}]'"
    for batch_size in batch_sizes:
        shape = (batch_size, *trained.inputs.image_shape)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        calls: dict[str, Callable[[], np.ndarray]] = {}
        rows: dict[str, dict[str, float]] = {}
        logits: dict[str, np.ndarray] = {}
        for name in (each for each in names if each not in skipped):
            try:
                calls[name], rows[name], logits[name] = _start(IMPLEMENTATIONS[name].make, trained, images)
            except NotImplementedError as error:
                skipped[name] = str(error)
        if not calls:
            break
        expected = next(iter(logits.values()))
        for name, milliseconds in _time(calls, config).items():
            median, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
            rows[name] |= {"median_ms": median, "p95_ms": p95, "p99_ms": p99, "fastest_ms": min(milliseconds)}
            rows[name] |= {"images_per_s": 1e3 * batch_size / median, "num_calls": len(milliseconds)}
            rows[name]["difference"] = float(np.abs(logits[name] - expected).max() / np.abs(expected).max())
        sizes[batch_size] = rows
    return {"run": str(folder), "device": jax.devices()[0].device_kind, "sizes": sizes, "skipped": skipped}


def _start(
    make: MakeLogits, trained: TrainedNetwork, images: np.ndarray
) -> tuple[Callable[[], np.ndarray], dict[str, float], np.ndarray]:
    """Return a call of an implementation, what its preparation cost, and its logits."""
    give_back_memory()
    before, began = resident_memory(), time.perf_counter()
    call = partial(make(trained, len(images)), images)
    built = time.perf_counter()
    logits = call()
    called = time.perf_counter()
    give_back_memory()  # the memory that the compiler used
    with peak_memory() as peak:
        call()
    row = {"build_s": built - began, "first_call_ms": 1e3 * (called - built)}
    return call, row | {"memory_mib": (peak() - before) / 2**20}, logits


def _time(calls: Mapping[str, Callable[[], Any]], config: InferenceBenchmarkConfig) -> dict[str, list[float]]:
    """Return the milliseconds of every call by name. Every second round has the opposite order."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(config.rounds):
        for name in list(calls)[:: -1 if index % 2 else 1]:
            for seconds, kept in ((WARM_UP_SECONDS, []), (config.seconds, found[name])):
                end = time.perf_counter() + seconds
                while True:
                    kept.append(1e3 * time_call(calls[name]))
                    if time.perf_counter() >= end:
                        break
    return found
