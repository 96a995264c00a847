"""Measure what a sweep costs outside the training of its runs: time and memory, by the number of runs.

The command plans sweeps of a small network and trains some of their runs. The other runs get the result of
one of these. Then it launches each sweep again and writes its report. 10,000 runs take some minutes, and
0.4 GB of disk until the command has ended.

Examples:
    cnn-research benchmark-sweep --runs 100,1000
    cnn-research benchmark-sweep --runs 1000 --trained 1000
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from research.benchmarks.sweep import EARLY, benchmark_sweep
from research.cli.arguments import Arguments, check_choice
from research.cli.keys import FORMATS
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.utils.constraints import OneOf


def command() -> int:
    """Print a table with a row for each number of runs, or one JSON list."""
    parser = Arguments(__doc__)
    parser.add_argument("--runs", default="100,1000", help="numbers of runs. Default 100,1000.")
    parser.add_argument("--trained", default="100", help="number of runs that are trained. Default 100.")
    parser.add_argument("--format", default="table", help=f"form of the output: {OneOf(FORMATS)}")
    arguments = parser.parse_args()
    check_choice("--format", arguments.format, FORMATS)
    sizes = [_number("--runs", size) for size in arguments.runs.split(",")]
    trained = _number("--trained", arguments.trained)
    if not sys.platform.startswith("linux"):
        raise ConfigError("benchmark-sweep needs Linux, because it reads /proc")
    with tempfile.TemporaryDirectory() as folder:
        rows = benchmark_sweep(Path(folder), sizes, trained)
    if arguments.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        show(rows, Console(highlight=False, soft_wrap=True, width=160))
    return 0


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows as a table."""
    heads = ("plan, CPU s", "recognise, CPU s", "a run, ms", "report, s", "report, MiB", "status, s")
    table = Table("runs", *heads, "launcher, MiB", "worker, MiB", box=None)
    for row in rows:
        table.add_row(
            f"{row['num_runs']:,}",
            f"{row['plan_s']:.1f}",
            f"{row['recognise_s']:.1f}",
            f"{row['overhead_ms']:.0f}",
            f"{row['report_s']:.1f}",
            f"{row['report_mib']:.0f}",
            f"{row['status_s']:.1f}",
            *(" to ".join(f"{mib:.0f}" for mib in row[key]) for key in ("launcher_mib", "worker_mib")),
        )
    console.print(table)


def _number(flag: str, word: str) -> int:
    """Return the whole number in a word."""
    if not (word.isascii() and word.isdecimal() and int(word) > EARLY):
        raise ConfigError(f"{flag}={word} is not allowed; give whole numbers, more than {EARLY}")
    return int(word)


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
