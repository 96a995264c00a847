"""Time the inference of a finished run's network, by this package, ONNX Runtime and PyTorch.

All implementations run in this process, one after the other, from random pixels to logits. ONNX Runtime needs
the extra export, and PyTorch the extra frameworks; an implementation that is not installed is left out.

Examples:
    cnn-research benchmark-inference outputs/x
    cnn-research benchmark-inference outputs/x --batch-sizes 1,64 --format json
"""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from research.benchmarks.inference import (
    BATCH_SIZES,
    IMPLEMENTATIONS,
    InferenceBenchmarkConfig,
    benchmark_inference,
)
from research.cli.arguments import Arguments, add_flags, check_choice, read_flags
from research.cli.keys import FORMATS
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.deploy.compile import compute_in_calling_thread
from research.utils.constraints import OneOf


def command() -> int:
    """Print a table for each number of images, or one JSON object."""
    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    sizes = ",".join(map(str, BATCH_SIZES))
    parser.add_argument("--batch-sizes", default=sizes, help=f"numbers of images in a call. Default {sizes}.")
    every = ",".join(IMPLEMENTATIONS)
    parser.add_argument("--implementations", default=every, help=f"what is timed. Default {every}.")
    parser.add_argument("--format", default="table", help=f"form of the output: {OneOf(FORMATS)}")
    add_flags(parser, InferenceBenchmarkConfig)
    arguments = parser.parse_args()
    check_choice("--format", arguments.format, FORMATS)
    names = arguments.implementations.split(",")
    for name in names:
        check_choice("--implementations", name, IMPLEMENTATIONS)
    batch_sizes = arguments.batch_sizes.split(",")
    if not all(size.isascii() and size.isdecimal() and int(size) > 0 for size in batch_sizes):
        raise ConfigError(
            f"--batch-sizes={arguments.batch_sizes} is not allowed; give numbers, such as {sizes}"
        )
    config = read_flags(InferenceBenchmarkConfig, arguments)
    compute_in_calling_thread()
    result = benchmark_inference(arguments.run, config, list(map(int, batch_sizes)), names)
    if arguments.format == "json":
        print(json.dumps(result, indent=2))
    else:
        show(result, Console(highlight=False, markup=False, soft_wrap=True, width=160))
    return 0


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as a table for each number of images."""
    console.print(f"{result['run']}, device: {result['device']}")
    for size, rows in result["sizes"].items():
        heads = (
            "times the first",
            "p95",
            "p99",
            "fastest",
            "images/s",
            "build s",
            "first ms",
            "MiB",
            "difference",
        )
        table = Table(f"batch {size}", "ms", *heads, box=None)
        first = next(iter(rows.values()))["median_ms"]
        for name, row in rows.items():
            numbers = (
                _short(row["median_ms"]),
                f"{row['median_ms'] / first:.2f}",
                *(
                    _short(row[key])
                    for key in ("p95_ms", "p99_ms", "fastest_ms", "images_per_s", "build_s", "first_call_ms")
                ),
                f"{row['memory_mib']:.0f}",
                f"{row['difference']:.0e}",
            )
            table.add_row(name, *numbers)
        console.print(table)
    for name, reason in result["skipped"].items():
        console.print(f"{name}: {reason}")


def _short(number: float) -> str:
    """Return a number with about three digits."""
    return f"{number:.{3 if number < 1 else 2 if number < 10 else 1 if number < 100 else 0}f}"


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
