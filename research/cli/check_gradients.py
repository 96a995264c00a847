"""Compare the gradient of each layer of a network with central differences in float64.

The exit code is 1 if a gradient disagrees.

Example:
    cnn-research check-gradients model=plain model.depth=3 data=mnist
"""

import json
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from research.analysis.gradient_check import TOLERANCE, check_gradients
from research.cli.keys import Command, FormatKeys
from research.cli.wrapper import pop_keys, run_command
from research.config import Config
from research.runs.build import build_network

COMMAND = Command("check_gradients", __doc__, (FormatKeys,), ("model", "data"))

NUM_IMAGES = 2
"""The number of random images. Batch normalisation needs two."""


def job(wrong: list[str], values: dict[str, Any]) -> None:
    """Print the errors as a table or as JSON, and append the names of the layers that disagree to `wrong`."""
    output = pop_keys(values, FormatKeys).format
    config = Config.from_dict(values)
    dataset = config.data.images.describe()
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    errors = check_gradients(net, (NUM_IMAGES, *dataset.image_shape))
    disagree = [each for each in errors if not each.agrees]
    wrong += [each.path for each in disagree]
    if output == "json":
        print(json.dumps([asdict(each) | {"agrees": each.agrees} for each in errors], indent=2))
        return
    console = Console(highlight=False, soft_wrap=True, width=160)
    table = Table("layer", "kind", "gradient of", Column("relative error", justify="right"), "", box=None)
    for each in errors:
        verdict = "" if each.agrees else "disagrees"
        table.add_row(each.path, each.layer, each.array, f"{each.error:.1e}", verdict)
    console.print(table)
    for each in disagree:
        print(
            f"{each.path}: the gradient of {each.array} disagrees with central differences, "
            f"relative error {each.error:.1e}"
        )
    if not disagree:
        print(f"all {len(errors)} gradients agree with central differences to {TOLERANCE:g}")


def main() -> None:
    """Run the command and exit."""
    wrong: list[str] = []
    run_command(COMMAND, partial(job, wrong), after=lambda: int(bool(wrong)))
