"""Compare ways to make a network smaller: accuracy, size and time of each, in one table and one picture.

The network is trained, stored in bfloat16 and int8, pruned, distilled into tiny, and compared with an
ensemble of five runs of tiny. The next call with the same out continues where this one ended. The command
needs the extra export.

Example:
    cnn-research compare-compression data=mnist seeds=9 out=multirun/compression
"""

from typing import Any

from research.cli.keys import Command
from research.cli.wrapper import pop_keys, run_command
from research.config import CHOICES, Config
from research.runs.run import leave_accelerators
from research.studies.compression import CompressionConfig, run_compression

COMMAND = Command("compare_compression", __doc__, (CompressionConfig,), (*CHOICES, "training"))


def job(values: dict[str, Any]) -> None:
    """Run the comparison, and print the path of its table."""
    keys = pop_keys(values, CompressionConfig)
    leave_accelerators()
    print(f"table {run_compression(keys, Config.from_dict(values))}")


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
