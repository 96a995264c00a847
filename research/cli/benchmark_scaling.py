"""Time a training step in one process and in several, where each has a core and a batch of its own.

Example:
    cnn-research benchmark-scaling processes=2 training.batch_size=128
"""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from research.benchmarks.scaling import ScalingConfig, benchmark_cluster, benchmark_scaling
from research.cli.keys import Command, FormatKeys
from research.cli.wrapper import pop_keys, run_command
from research.config import CHOICES, Config
from research.runs.devices import check_distributed

COMMAND = Command(
    "benchmark_scaling",
    __doc__,
    (FormatKeys, ScalingConfig),
    (*CHOICES, "training.batch_size", "distributed"),
)


def job(values: dict[str, Any]) -> None:
    """Print a table, or one JSON object."""
    output, scaling = pop_keys(values, FormatKeys).format, pop_keys(values, ScalingConfig)
    config = Config.from_dict(values)
    check_distributed(config)
    if config.distributed.is_on:
        result, should_report = benchmark_cluster(config, scaling)
    else:
        result, should_report = benchmark_scaling(config, scaling), True
    if not should_report:
        return
    if output == "json":
        print(json.dumps(result, indent=2))
    else:
        show(result, Console(highlight=False, soft_wrap=True))


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result for a person."""
    table = Table("", "ms a step", "quartiles", "all-reduces", "bytes", box=None)

    def add(name: str, ms: dict[str, float], exchange: dict[str, Any]) -> None:
        counted = [str(exchange.get(key, 0)) for key in ("all_reduces", "all_reduce_bytes")]
        table.add_row(name, f"{ms['median']:.1f}", f"{ms['lower']:.1f}-{ms['upper']:.1f}", *counted)

    add("one alone", result["ms"]["one"], {})
    if "apart" in result["ms"]:
        add("all at once, without exchange", result["ms"]["apart"], {})
    add(f"all together, {result['strategy']}", result["ms"]["all"], result)
    for name, row in result["strategies"].items():
        add(f"strategies: {name}", row["ms"], row)
    console.print(table)
    console.print(f"weak efficiency {result['weak_efficiency']:.3f}")
    console.print(f"exchange efficiency {result['exchange_efficiency']:.3f}")
    console.print(f"real: {result['real']}")
    console.print(f"simulated: {result['simulated']}")


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
