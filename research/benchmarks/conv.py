"""Times of every convolution algorithm on the layers of our networks, for each pass, beside PyTorch."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.benchmarks.timing import alternate, make_gemm, quartiles
from research.benchmarks.train import peak_bytes_of_torch
from research.frameworks.base import FRAMEWORKS
from research.ops.conv import CONV_ALGORITHMS, choose_algorithm, conv2d
from research.ops.padding import Pair, conv_output_size, resolve_padding
from research.utils.constraints import AtLeastOne, Between, OneOf
from research.utils.strict import ConfigError

Array = jax.Array
Arrays = tuple[Array, Array, Array]  # x, kernel, gradient of the output
Work = Callable[[int], Any]

PASSES = ("forward", "input_gradient", "weight_gradient", "all")
TORCH = {"torch": False, "torch_channels_last": True}
SLOW_SECONDS = 0.5
"""A pass that takes longer than this is timed once."""


@dataclass(frozen=True)
class Layer:
    """A SAME convolution of square images. A first layer needs no gradient of its input."""

    batch_size: int
    size: int
    channels: int
    features: int
    kernel_size: int = 3
    strides: int = 1
    dilation: int = 1
    is_first: bool = False
    groups: int = 1

    @property
    def out_size(self) -> Pair:
        """Return the height and width of the output."""
        return conv_output_size(self.size, self.kernel_size, strides=self.strides, dilation=self.dilation)

    @property
    def gflop(self) -> float:
        """Return the floating-point operations of one pass, two for each multiply-accumulate."""
        out_h, out_w = self.out_size
        macs = self.batch_size * out_h * out_w * self.kernel_size**2 * self.channels * self.features
        return 2e-9 * macs / self.groups

    def num_passes(self, name: str) -> int:
        """Return how many passes `all` stands for: the passes that training needs."""
        return (2 if self.is_first else 3) if name == "all" else 1


LAYERS = {
    "mnist conv1": Layer(128, 28, 1, 32, is_first=True),
    "reference conv2": Layer(128, 14, 16, 32),
    "plain conv2": Layer(128, 14, 32, 64),
    "plain conv3": Layer(128, 7, 64, 64),
    "digits conv2": Layer(64, 4, 32, 64),
    "digits conv3": Layer(64, 2, 64, 64),
    "modern_cnn conv1": Layer(64, 32, 3, 64, is_first=True),
    "modern_cnn conv2": Layer(64, 32, 64, 64),
    "modern_cnn conv3": Layer(64, 16, 64, 128),
    "modern_cnn conv4": Layer(64, 16, 128, 128),
    "modern_cnn conv6": Layer(64, 8, 256, 256),
    "simple_resnet block3": Layer(64, 32, 64, 128, strides=2),
    "simple_resnet shortcut": Layer(64, 32, 64, 128, kernel_size=1, strides=2),
    "resnet20 stem": Layer(128, 32, 3, 16, is_first=True),
    "resnet20 stage1": Layer(128, 32, 16, 16),
    "resnet20 block4": Layer(128, 32, 16, 32, strides=2),
    "resnet20 stage2": Layer(128, 16, 32, 32),
    "resnet20 block7": Layer(128, 16, 32, 64, strides=2),
    "resnet20 stage3": Layer(128, 8, 64, 64),
    "lenet conv2": Layer(128, 14, 6, 16, kernel_size=5),
    "densenet growth": Layer(64, 32, 48, 12),
    "dilated": Layer(32, 32, 64, 64, dilation=2),
    "resnet50 stem": Layer(8, 224, 3, 64, kernel_size=7, strides=2, is_first=True),
    "resnet50 stage1": Layer(8, 56, 64, 64),
    "resnet50 stage4": Layer(8, 7, 512, 512),
    "resnet50 expand": Layer(8, 56, 64, 256, kernel_size=1),
    "resnet50 reduce": Layer(8, 56, 256, 64, kernel_size=1),
    "resnet50 shortcut": Layer(8, 56, 256, 512, kernel_size=1, strides=2),
    "vgg conv1": Layer(8, 224, 3, 64),
    "unet conv2": Layer(4, 128, 64, 64),
    "depthwise 32": Layer(64, 32, 32, 32, groups=32),
    "depthwise 256": Layer(64, 8, 256, 256, groups=256),
    "depthwise strided": Layer(64, 16, 128, 128, strides=2, groups=128),
    "depthwise 7x7": Layer(16, 28, 96, 96, kernel_size=7, groups=96),
    "32 groups": Layer(16, 28, 128, 128, groups=32),
}


@dataclass(frozen=True)
class ConvBenchmarkConfig:
    """What to time and how.

    Args:
        layers: names of the layers.
        algorithms: names of the algorithms, those of PyTorch among them.
        batch_size: number of images; null: that of the network's benchmark.
        rounds: number of timings of each algorithm, in turn.
        repeats: number of passes in one timing, in one compiled loop.
    """

    layers: tuple[Annotated[str, OneOf(LAYERS)], ...] = tuple(LAYERS)
    algorithms: tuple[Annotated[str, OneOf((*CONV_ALGORITHMS, *TORCH))], ...] = (*CONV_ALGORITHMS, *TORCH)
    batch_size: Annotated[int, AtLeastOne] | None = None
    rounds: Annotated[int, Between(2)] = 5
    repeats: Annotated[int, AtLeastOne] = 4

    def __post_init__(self) -> None:
        for key in ("layers", "algorithms"):
            if not getattr(self, key):
                raise ConfigError(f"{key}=[] is not allowed; give at least one name")


def draw_arrays(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images `[N, H, W, C]`, a kernel `[k, k, C, O]` and a gradient of the output, float32."""
    rng = np.random.default_rng(0)
    shapes = (
        (layer.batch_size, layer.size, layer.size, layer.channels),
        (layer.kernel_size, layer.kernel_size, layer.channels // layer.groups, layer.features),
        (layer.batch_size, *layer.out_size, layer.features),
    )
    x, kernel, dy = (rng.standard_normal(shape, np.float32) for shape in shapes)
    return x, kernel, dy


def make_ours(layer: Layer, algorithm: str, name: str) -> tuple[Work, int | None]:
    """Compile one pass inside a loop, as an epoch runs it.

    Returns:
        `work(repeats)` and the bytes of temporary memory of its program.

    Raises:
        ValueError: the algorithm does not compute such a convolution.
    """

    def outputs(x: Array, kernel: Array, dy: Array) -> Iterable[Array]:
        conv = partial(
            conv2d,
            strides=layer.strides,
            dilation=layer.dilation,
            groups=layer.groups,
            algorithm=algorithm,
        )
        if name == "forward":
            return (conv(x, kernel),)
        y, pullback = jax.vjp(conv, x, kernel)
        dx, dkernel = pullback(dy)
        if name == "all":
            return (y, dkernel) if layer.is_first else (y, dx, dkernel)
        return (dx,) if name == "input_gradient" else (dkernel,)

    def step(index: Array, arrays: Arrays) -> Arrays:
        # Each step reads what the step before wrote, so that XLA cannot remove any step. If an output is a
        # fusion, XLA would compute only the element that is read. The conditional prevents that.
        values = [lax.cond(index < 0, jnp.sum, lambda out: out.ravel()[0], out) for out in outputs(*arrays)]
        x, kernel, dy = (array.at[(0,) * array.ndim].set(sum(values) * 1e-3) for array in arrays)
        return x, kernel, dy

    def program(arrays: Arrays, repeats: Array) -> Arrays:
        return lax.fori_loop(0, repeats, step, arrays)

    arrays = jax.device_put(draw_arrays(layer))
    compiled = jax.jit(program).lower(arrays, jnp.int32(0)).compile()
    memory = compiled.memory_analysis()
    return (
        lambda repeats: compiled(arrays, np.int32(repeats)),
        None if memory is None else memory.temp_size_in_bytes,
    )


def make_torch(layer: Layer, channels_last: bool, name: str) -> tuple[Work, int]:
    """Return the same pass in PyTorch, in one memory layout, and its memory in bytes, outputs included."""
    import torch

    from research.benchmarks.other_frameworks import synchronize_torch, torch_device

    layout, place = torch.channels_last if channels_last else torch.contiguous_format, torch_device()
    orders = (0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)
    x, kernel, dy = (
        torch.from_numpy(array).permute(order).to(place).contiguous(memory_format=layout)
        for array, order in zip(draw_arrays(layer), orders, strict=True)
    )
    span = (layer.kernel_size - 1) * layer.dilation + 1
    reach = max((dy.shape[2] - 1) * layer.strides + span - layer.size, 0)
    steps, pads, dilation = [layer.strides] * 2, [-(-reach // 2)] * 2, [layer.dilation] * 2
    groups = layer.groups
    wanted = [name != "weight_gradient" and not (name == "all" and layer.is_first), name != "input_gradient"]

    def once() -> Any:
        y = None
        if name in ("forward", "all"):
            y = torch.nn.functional.conv2d(x, kernel, None, steps, pads, dilation, groups)
        if name == "forward":
            return y
        gradient = torch.ops.aten.convolution_backward
        wants = [*wanted, False]
        return y, gradient(dy, x, kernel, None, steps, pads, dilation, False, [0, 0], groups, wants)

    def work(repeats: int) -> None:
        for _ in range(repeats):
            once()
        synchronize_torch()

    return work, peak_bytes_of_torch(work)


def time_layer(layer: Layer, config: ConvBenchmarkConfig) -> dict[str, Any]:
    """Time one layer.

    Returns:
        `gflop` of one pass; `gemm_gflops`; `chosen`, the algorithm that `auto` chooses; by implementation
        `ms` (the quartiles of each pass), `gflops`, `share` of the GEMM rate and `temp_bytes`;
        `fastest`, the fastest of our algorithms over all passes; `slower`, the time of `chosen` divided by
        the time of `fastest`; `unsupported`, the reason by implementation.
    """
    works: dict[str, Work] = {}  # by implementation/pass
    temp_bytes: dict[str, dict[str, int | None]] = {}
    unsupported = {}
    for algorithm in config.algorithms:
        make = partial(make_torch, layer, TORCH[algorithm]) if algorithm in TORCH else None
        try:
            made = {name: (make or partial(make_ours, layer, algorithm))(name) for name in PASSES}
        except (ValueError, NotImplementedError) as error:
            unsupported[algorithm] = str(error)
            continue
        works |= {f"{algorithm}/{name}": work for name, (work, _) in made.items()}
        temp_bytes[algorithm] = {name: size for name, (_, size) in made.items()}
    once = alternate({key: partial(work, 1) for key, work in works.items()}, 1)
    slow = {key for key in works if once[key][0] > SLOW_SECONDS}
    gemm, gemm_flops = make_gemm()
    repeated = {key: partial(work, config.repeats) for key, work in works.items() if key not in slow}
    seconds = alternate({**repeated, "gemm": gemm}, config.rounds)
    gemm_gflops = 1e-9 * gemm_flops / statistics.median(seconds.pop("gemm"))
    per_pass = {key: [s / config.repeats for s in rounds] for key, rounds in seconds.items()}
    per_pass |= {key: once[key] * 2 for key in slow}
    ms: dict[str, dict[str, Any]] = {algorithm: {} for algorithm in temp_bytes}
    for key, rounds in per_pass.items():
        algorithm, name = key.split("/")
        ms[algorithm][name] = quartiles([1e3 * s for s in rounds])._asdict()
    gflops = {
        algorithm: {
            name: 1e3 * layer.gflop * layer.num_passes(name) / t["median"] for name, t in times.items()
        }
        for algorithm, times in ms.items()
    }
    x, kernel, _ = draw_arrays(layer)
    strides, dilation = (layer.strides, layer.strides), (layer.dilation, layer.dilation)
    pads = resolve_padding("SAME", x.shape[1:3], kernel.shape[:2], strides, dilation)
    chosen = choose_algorithm(jnp.asarray(x), jnp.asarray(kernel), strides, pads, dilation, layer.groups)
    totals = {a: times["all"]["median"] for a, times in ms.items() if a in CONV_ALGORITHMS}
    fastest = min(totals, key=lambda algorithm: totals[algorithm]) if totals else None
    return {
        "gflop": layer.gflop,
        "gemm_gflops": gemm_gflops,
        "chosen": chosen,
        "fastest": fastest,
        "slower": totals[chosen] / totals[fastest] if fastest and chosen in totals else None,
        "ms": ms,
        "gflops": gflops,
        "share": {a: {n: rate / gemm_gflops for n, rate in rates.items()} for a, rates in gflops.items()},
        "temp_bytes": temp_bytes,
        "unsupported": unsupported,
    }


def installed(names: Iterable[str]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the implementations that can run here, and for each of the others how to install it."""
    missing = {n: FRAMEWORKS[n].install for n in names if n in TORCH and not FRAMEWORKS[n].is_installed}
    return tuple(name for name in names if name not in missing), missing
