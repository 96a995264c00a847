"""Time one training step of a network, ours beside PyTorch, Flax and Keras.

The images are random and have the shape of those of the dataset.

Example:
    cnn-research benchmark-train model=conv_pair training.batch_size=128
"""

import json
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from research.benchmarks.train import BenchmarkConfig, benchmark_train
from research.cli.keys import Command, FormatKeys
from research.cli.wrapper import pop_keys, run_command
from research.config import CHOICES, Config
from research.parallel import request_cpu_devices
from research.runs.devices import num_cpu_devices

COMMAND = Command(
    "benchmark_train",
    __doc__,
    (FormatKeys, BenchmarkConfig),
    (*CHOICES, *(f"training.{key}" for key in ("batch_size", "accumulate", "precision", "remat", "freeze"))),
    renamed={"replicas": "runs_per_program"},
)


def job(values: dict[str, Any]) -> None:
    """Print a table, or one JSON object."""
    output, benchmark = pop_keys(values, FormatKeys).format, pop_keys(values, BenchmarkConfig)
    config = Config.from_dict(values)
    if benchmark.stored and benchmark.stored_size is None:  # missing images are refused before any timing
        replace(config.data, in_memory=False).images.locate()
    request_cpu_devices(num_cpu_devices(config))
    result = benchmark_train(config, benchmark)
    if output == "json":
        print(json.dumps(result, indent=2))
    else:
        show(result, Console(highlight=False, soft_wrap=True))


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result for a person."""
    table = Table("implementation", "ms a step", "quartiles", "times ours", box=None)
    for name, ms in result["ms"].items():
        digits = 1 if ms["median"] >= 10 else 3
        quartiles = f"{ms['lower']:.{digits}f}-{ms['upper']:.{digits}f}"
        table.add_row(name, f"{ms['median']:.{digits}f}", quartiles, f"{result['ratio'].get(name, 1):.2f}")
    console.print(table)
    console.print(
        f"ours reaches {result['roofline']:.2f} of the machine's GEMM rate, {result['gemm_gflops']:.0f} "
        f"GFLOP/s, in {result['step_gflop']:.2f} GFLOP a step; compiled in {result['compile_s']:.1f} s; "
        f"device: {result['device']}"
    )
    if result["temp_bytes"] is not None:
        peaks = [f"{name} {peak / 2**20:.0f}" for name, peak in result["torch_peak_bytes"].items()]
        console.print(", ".join([f"temporary memory, MiB: ours {result['temp_bytes'] / 2**20:.0f}", *peaks]))
    for algorithm, evaluated in (result["evaluation"] or {}).items():
        console.print(
            f"evaluation by {algorithm}: {evaluated['ms']:.1f} ms a batch, "
            f"compiled in {evaluated['compile_s']:.2f} s"
        )
    for name, microseconds in (result["augmentation_us"] or {}).items():
        console.print(f"augmentation {name}: {microseconds:.2f} microseconds an image")
    for start, seconds in (result["decoding_s"] or {}).items():
        console.print(f"the {start} start on a folder of JPEG files: {seconds:.2f} s until all are in memory")
    if stored := result["stored"]:
        console.print(
            f"images on disk: {stored['train']:,.0f} a second in training, {stored['read']:,.0f} by reading "
            f"alone, {stored['step']:,.0f} by the compiled steps alone; the steps waited "
            f"{stored['waited']:.1%} of the time"
        )
        for step, mib in stored["memory_mib"]:
            console.print(f"memory after step {step}: {mib:,.0f} MiB")
    for name, reason in result["skipped"].items():
        console.print(f"{name}: {reason}")


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
