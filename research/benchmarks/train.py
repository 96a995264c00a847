"""The time of one training step of a network, in this codebase and in other frameworks."""

import json
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from research.analysis.summary import summarize
from research.benchmarks.augmentation import time_augmentations
from research.benchmarks.decoding import time_decoding
from research.benchmarks.other_frameworks import MakeTrain, Train, flax_linen, keras_jax, torch_eager
from research.benchmarks.stored import time_stored
from research.benchmarks.timing import alternate, make_gemm, quartiles
from research.config import Config, ConfigError, DataConfig, Named
from research.data import Dataset, Split
from research.frameworks.base import FRAMEWORKS
from research.layers import Params, Sequential, State
from research.layers.rewrite import with_algorithm
from research.runs.build import build_network
from research.runs.program import compile_program
from research.runs.spec import program_spec
from research.training.evaluate import make_predict
from research.training.freeze import any_match, frozen_in
from research.training.program import Program
from research.training.state import Batch, TrainState, init_state
from research.utils.constraints import AtLeastOne, Between, OneOf
from research.utils.xla import for_few_calls, for_one_call

OTHERS: dict[str, tuple[str, MakeTrain]] = {
    "flax_linen": ("flax_linen", flax_linen),
    "keras_jax": ("keras_jax", keras_jax),
    "torch": ("torch", torch_eager),
    "torch_channels_last": ("torch_channels_last", partial(torch_eager, channels_last=True)),
    "torch_cuda_graph": ("torch", partial(torch_eager, channels_last=True, cuda_graph=True)),
}
"""By name: the entry of `FRAMEWORKS` that must be installed, and the function that builds the training."""

EAGER = ("torch", "torch_channels_last")
"""Implementations of PyTorch that allocate memory in each step; a CUDA graph allocates when it is made."""

IMPLEMENTATIONS = ("ours", "ours_lax_per_step", *OTHERS)


@dataclass(frozen=True)
class BenchmarkConfig:
    """What to time and how.

    Args:
        implementations: names of the implementations; those that are not installed are left out.
        runs_per_program: numbers of runs that are trained as one program, such as [8]; the time of a step is
            divided by the number of runs.
        evaluation: also time the evaluation of a batch, by auto and by lax.
        augmentations: also time each augmentation alone, in microseconds for an image.
        decoding: number of JPEG files of 300 by 400 pixels in a folder, for which the time until they are
            decoded and in memory is measured too; 0: none.
        stored: number of training steps on images that stay on disk, for which the images a second and the
            memory are measured too; 0: none.
        stored_size: height and width to which these images, JPEG files of 300 by 400 pixels, are decoded;
            null: the images are those of `data`, which must be prepared.
        rounds: number of timings of each, in turn.
        steps: number of training steps in one timing.
    """

    implementations: tuple[Annotated[str, OneOf(IMPLEMENTATIONS)], ...] = IMPLEMENTATIONS
    runs_per_program: tuple[Annotated[int, Between(2)], ...] = ()
    evaluation: bool = False
    augmentations: bool = False
    decoding: Annotated[int, Between(0)] = 0
    stored: Annotated[int, Between(0)] = 0
    stored_size: tuple[Annotated[int, Between(1, 4096)], ...] | None = (64, 64)
    rounds: Annotated[int, Between(2)] = 7
    steps: Annotated[int, AtLeastOne] = 20

    def __post_init__(self) -> None:
        if self.stored_size is not None and len(self.stored_size) != 2:
            raise ConfigError(
                f"stored_size={list(self.stored_size)} is not allowed; give the height and the width, such "
                "as [64,64]"
            )


def random_dataset(data: DataConfig, num_examples: int) -> Dataset:
    """Return random pixels and labels in the shapes of a dataset; a step takes the same time on any."""
    spec, rng = data.images.describe(), np.random.default_rng(0)
    images = rng.integers(0, 256, (num_examples, *spec.image_shape), dtype=np.uint8)
    split = Split(images, rng.integers(0, spec.num_classes, num_examples, dtype=np.int32))
    channels, names = spec.image_shape[-1], tuple(map(str, range(spec.num_classes)))
    statistics = (0.5,) * channels, (0.29,) * channels
    return Dataset(data.name, split, split, split, spec.num_classes, names, *statistics, checksum="random")


def _network(config: Config) -> Sequential:
    spec = config.data.images.describe()
    return build_network(config.model, spec.image_shape, spec.num_classes)


def step_flops(config: Config) -> float:
    """Return the floating-point operations of the matrix products of one training step.

    A multiply-accumulate counts as two operations. Each layer has three products: the forward pass, the
    gradient of the input and the gradient of the kernel. A frozen layer needs no gradient of its kernel, and
    the first trained layer and those before it need no gradient of their inputs.
    """
    image_shape = config.data.images.describe().image_shape
    rows = [row for row in summarize(_network(config), (1, *image_shape)) if row.macs]
    frozen = frozen_in(config.training.freeze, 1)
    trained = [not any_match(frozen, f"{row.path}/kernel") for row in rows]
    after = [any(trained[:index]) for index in range(len(rows))]
    counts = [row.macs * (1 + t + a) for row, t, a in zip(rows, trained, after, strict=True)]
    return 2.0 * config.training.batch_size * sum(counts)


def start_program(config: Config, num_steps: int) -> tuple[Program, list[TrainState], Any]:
    """Compile the program of a run.

    Args:
        config: the configuration of the run.
        num_steps: number of steps for which there are examples.

    Returns:
        The program, the initial state of each of its runs, and random examples as the program takes them.
    """
    batch_size = config.training.batch_size
    dataset = random_dataset(config.data, num_steps * batch_size)
    program = compile_program(program_spec(config, dataset))
    rate = jnp.float32(config.optimizer.arguments["learning_rate"])
    seeds = range(config.training.runs_per_program)
    states = [program.init(jax.random.key(seed), rate, jnp.float32(0)) for seed in seeds]
    order = jnp.arange(num_steps * batch_size, dtype=jnp.int32).reshape(num_steps, batch_size)
    examples, _, _ = next(program.make_feed(*dataset.train)([order], 0))
    return program, states, examples


def make_ours(config: Config, num_steps: int, num_runs: int = 1) -> tuple[Train, dict[str, Any]]:
    """Build our training as `cnn-research train` runs it: one program gathers batches and takes many steps.

    Args:
        config: the configuration that `benchmark_train` takes.
        num_steps: largest number of steps in one call.
        num_runs: number of runs that each call trains as one program.

    Returns:
        `train(num_steps)`, `compile_s` and `temp_bytes` of the program.
    """
    config = replace(config, training=replace(config.training, runs_per_program=num_runs))
    program, states, examples = start_program(config, num_steps)

    def train(num_steps: int) -> Any:
        nonlocal states
        if program.run_many is None:
            states = [program.run_steps(states[0], examples, 0, num_steps).state]
        else:
            trained = program.run_many(states, [examples] * num_runs, 0, num_steps)
            states = [state for state, _ in trained]
        return states

    return train, {"compile_s": program.compile_seconds, "temp_bytes": program.temporary_bytes}


def make_ours_per_step(config: Config, algorithm: str) -> Train:
    """Build our training with one convolution algorithm and a program per step, on one prepared batch."""
    arguments = tuple(sorted({**config.model.arguments, "algorithm": algorithm}.items()))
    config = replace(config, model=Named(config.model.name, arguments))
    dataset = random_dataset(config.data, config.training.batch_size)
    spec = program_spec(config, dataset)
    step = jax.jit(spec.make_train_step(), donate_argnums=0)
    init = jax.jit(partial(init_state, spec.net, spec.make_optimizer(), in_shape=(1, *spec.image_shape)))
    state = init(jax.random.key(0))
    batch = Batch(*jax.device_put(tuple(dataset.train)))

    def train(num_steps: int) -> Any:
        nonlocal state
        for _ in range(num_steps):
            state, _ = step(state, batch)
        return state.params

    return train


def _repeat(train: Train, num_steps: int, times: int) -> Any:
    for _ in range(times - 1):
        jax.block_until_ready(train(num_steps))
    return train(num_steps)


def peak_bytes_of_torch(train: Train) -> int:
    """Return the peak in bytes of the memory that PyTorch allocates in one step."""
    import torch

    train(1)
    if torch.cuda.is_initialized():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        train(1)
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        train(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]"]
    return int(np.cumsum([change for _, change in sorted(changes)]).max())


def time_evaluation(config: Config, rounds: int) -> dict[str, dict[str, float]]:
    """Time the evaluation of a batch with the convolutions that `auto` chooses for training, and with others.

    Returns:
        For `auto`, `lax` and `chosen`, which is what `make_predict` chooses: `ms` of a batch, the median over
        the rounds, and `compile_s`, tracing included.
    """
    # there must be enough examples for a whole batch of evaluation
    spec = program_spec(config, random_dataset(config.data, max(1024, config.training.batch_size)))
    in_shape = (spec.eval_batch_size, *spec.image_shape)
    init = jax.jit(lambda key: spec.net.init(key, in_shape), compiler_options=for_one_call())
    params, model_state = init(jax.random.key(0))
    images = jnp.zeros(in_shape, jnp.uint8)
    compile_s, works = {}, {}
    for algorithm in ("auto", "lax", "chosen"):
        net = with_algorithm(spec.net, algorithm) if algorithm == "lax" else spec.net

        def predict(
            params: Params, model_state: State, images: jax.Array, net: Sequential = net
        ) -> jax.Array:
            return net.apply(params, model_state, spec.preprocess(images), train=False)[0]

        function = make_predict(net, spec.preprocess) if algorithm == "chosen" else predict
        began = time.perf_counter()
        compiled = jax.jit(function).lower(params, model_state, images).compile(for_few_calls())
        compile_s[algorithm] = time.perf_counter() - began
        works[algorithm] = partial(compiled, params, model_state, images)
    ms = {name: 1e3 * quartiles(seconds).median for name, seconds in alternate(works, rounds).items()}
    return {name: {"ms": ms[name], "compile_s": compile_s[name]} for name in works}


def _unlike_others(config: Config) -> list[str]:
    """Return the settings that the other implementations do not have, so that their steps differ."""
    asked = {
        f"optimizer={config.optimizer.name}": config.optimizer.name != "adam",
        f"training.precision={config.training.precision}": config.training.precision != "float32",
        "data.augmentations": bool(config.data.augmentations),
        "training.freeze": bool(config.training.freeze),
    }
    return [what for what, differs in asked.items() if differs]


def benchmark_train(config: Config, benchmark: BenchmarkConfig) -> dict[str, Any]:
    """Time every implementation that is installed, in turn in one process.

    Args:
        config: network, batch size, optimizer and the dataset whose shapes the images have.
        benchmark: how to time.

    Returns:
        `ms` per step by implementation (`median`, `lower` and `upper` quartile), divided by the number of
        runs that are one program; `ratio`, the median of each other implementation divided by ours; `device`,
        its name in JAX; `roofline`, the share of the machine's GEMM rate that ours reaches; `gemm_gflops`;
        `step_gflop`; `compile_s` and `temp_bytes` of ours; `torch_peak_bytes` by PyTorch's memory layouts;
        `skipped`, the reason by implementation; `evaluation`, what `time_evaluation` returns, or `None`;
        `augmentation_us`, what `time_augmentations` returns, or `None`; `decoding_s`, what `time_decoding`
        returns, or `None`; `stored`, what `time_stored` returns, or `None`.
    """
    image_shape, batch_size = config.data.images.describe().image_shape, config.training.batch_size
    net = _network(config)
    ours, facts = make_ours(config, benchmark.steps)
    trains: dict[str, Train] = {"ours": ours}
    counts = {f"ours_{count}_runs": count for count in benchmark.runs_per_program}
    trains |= {name: make_ours(config, benchmark.steps, count)[0] for name, count in counts.items()}
    skipped, unlike = {}, _unlike_others(config)
    for name in benchmark.implementations:
        if name == "ours_lax_per_step":
            trains[name] = make_ours_per_step(config, "lax")
        elif name in OTHERS and not FRAMEWORKS[OTHERS[name][0]].is_installed:
            skipped[name] = f"not installed; {FRAMEWORKS[OTHERS[name][0]].install}"
        elif name in OTHERS and unlike:
            skipped[name] = (
                f"it trains by Adam in float32 without augmentation and freezing, unlike {', '.join(unlike)}"
            )
        elif name in OTHERS:
            _, make_train = OTHERS[name]
            try:
                trains[name] = make_train(net, image_shape, batch_size)
            except NotImplementedError as error:
                skipped[name] = str(error)
    gemm, gemm_flops = make_gemm()
    # many runs as one program are compared with as many runs of ours, one after the other
    most = max(counts.values(), default=1)
    calls = {name: most // counts.get(name, 1) for name in trains}
    works = {name: partial(_repeat, train, benchmark.steps, calls[name]) for name, train in trains.items()}
    seconds = alternate({**works, "gemm": gemm}, benchmark.rounds)
    gemm_rate = gemm_flops / quartiles(seconds.pop("gemm")).median
    steps = {name: benchmark.steps * calls[name] * counts.get(name, 1) for name in trains}
    per_step = {name: [1e3 * s / steps[name] for s in rounds] for name, rounds in seconds.items()}
    ms = {name: quartiles(rounds)._asdict() for name, rounds in per_step.items()}
    flops = step_flops(config)
    return {
        "device": jax.devices()[0].device_kind,
        "ms": ms,
        "ratio": {name: ms[name]["median"] / ms["ours"]["median"] for name in ms if name != "ours"},
        "roofline": flops / gemm_rate / (ms["ours"]["median"] / 1e3),
        "gemm_gflops": gemm_rate / 1e9,
        "step_gflop": flops / 1e9,
        **facts,
        "torch_peak_bytes": {name: peak_bytes_of_torch(trains[name]) for name in EAGER if name in trains},
        "skipped": skipped,
        "evaluation": time_evaluation(config, benchmark.rounds) if benchmark.evaluation else None,
        "augmentation_us": time_augmentations(image_shape, batch_size, benchmark.rounds)
        if benchmark.augmentations
        else None,
        "decoding_s": time_decoding(benchmark.decoding) if benchmark.decoding else None,
        "stored": time_stored(config, benchmark.stored, benchmark.stored_size) if benchmark.stored else None,
    }
