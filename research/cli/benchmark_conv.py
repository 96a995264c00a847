"""Time every convolution algorithm on the layers of our networks, or measure how exact each one is.

Examples:
    cnn-research benchmark-conv 'layers=[plain conv2]'
    cnn-research benchmark-conv report=error
"""

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax
from rich.console import Console
from rich.table import Column, Table

from research.benchmarks.conv import LAYERS, PASSES, ConvBenchmarkConfig, installed, time_layer
from research.benchmarks.conv_error import CHANNELS, QUANTITIES, Errors, relative_errors
from research.benchmarks.conv_figure import draw
from research.cli.keys import FORMATS, Command
from research.cli.wrapper import pop_keys, read_optional_folder, run_command
from research.utils.constraints import OneOf
from research.utils.strict import construct

REPORTS = ("speed", "error")


@dataclass(frozen=True)
class ConvKeys:
    """Keys of this command in addition to those of the benchmark.

    Args:
        report: what is measured; `error` compares with float64.
        format: how the result is printed.
        out: folder of the JSON and the picture; null: neither is written.
    """

    report: Annotated[str, OneOf(REPORTS)] = "speed"
    format: Annotated[str, OneOf(FORMATS)] = "table"
    out: str | None = "outputs/benchmark_conv"


COMMAND = Command("benchmark_conv", __doc__, (ConvKeys, ConvBenchmarkConfig))
CONSOLE = Console(highlight=False, soft_wrap=True, width=160)


def job(values: dict[str, Any]) -> None:
    """Print tables or one JSON object, and write the JSON and a picture into a folder."""
    out = read_optional_folder(values, "out")
    keys = pop_keys(values, ConvKeys)
    as_json = keys.format == "json"
    config = construct(ConvBenchmarkConfig, values)
    if keys.report == "error":
        errors = relative_errors()
        print(json.dumps(errors, indent=2)) if as_json else show_errors(errors)
        return
    algorithms, missing = installed(config.algorithms)
    config = replace(config, algorithms=algorithms)
    if out is not None:  # before the measurements, which take minutes
        out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in config.layers:
        layer = replace(LAYERS[name], batch_size=config.batch_size or LAYERS[name].batch_size)
        results[name] = time_layer(layer, config)
        if not as_json:
            show_layer(name, results[name])
    result = {"device": jax.devices()[0].device_kind, "not_installed": missing, "layers": results}
    if out is not None:
        (out / "benchmark_conv.json").write_text(json.dumps(result, indent=2) + "\n")
        draw(results, out / "benchmark_conv")
    if as_json:
        print(json.dumps(result, indent=2))
        return
    show_choices(results)
    for name, command in missing.items():
        CONSOLE.print(f"{name} is not installed; {command}")


def show_layer(name: str, result: dict[str, Any]) -> None:
    """Print for each implementation a row with the times and rates of all passes, and with its memory."""
    columns = (name, *(title.replace("_", " ") for title in PASSES), "temporary MiB")
    table = Table(*(Column(title, no_wrap=True) for title in columns), box=None)
    for algorithm, times in result["ms"].items():
        rates, shares = result["gflops"][algorithm], result["share"][algorithm]
        cells = [f"{times[p]['median']:.2f} ms {rates[p]:.0f} ({shares[p]:.2f})" for p in PASSES]
        memory = result["temp_bytes"][algorithm]["all"]
        table.add_row(algorithm, *cells, "" if memory is None else f"{memory / 2**20:.1f}")
    CONSOLE.print(table)
    CONSOLE.print(f"GFLOP/s, and in brackets their share of {result['gemm_gflops']:.0f}, the GEMM rate\n")


def show_choices(results: dict[str, Any]) -> None:
    """Print for each layer the algorithm of `auto` and the fastest one, over all passes together."""
    table = Table("layer", "auto takes", "fastest", "auto's time over the fastest's", box=None)
    for name, result in results.items():
        slower = "" if result["slower"] is None else f"{result['slower']:.2f}"
        table.add_row(name, result["chosen"], result["fastest"] or "", slower)
    CONSOLE.print(table)


def show_errors(errors: Errors) -> None:
    """Print the largest error over all numbers of channels as a Markdown table."""
    CONSOLE.print(f"| algorithm | dtype | {' | '.join(QUANTITIES)} | at channels |")
    CONSOLE.print("|---|---|" + "---|" * (len(QUANTITIES) + 1))
    for algorithm, by_dtype in errors.items():
        for dtype, by_quantity in by_dtype.items():
            largest = [max(by_quantity[q]) for q in QUANTITIES]
            worst = max(QUANTITIES, key=lambda q: max(by_quantity[q]))
            at = CHANNELS[by_quantity[worst].index(max(largest))]
            cells = " | ".join(f"{error:.1e}" for error in largest)
            CONSOLE.print(f"| {algorithm} | {dtype} | {cells} | {at} |")


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
