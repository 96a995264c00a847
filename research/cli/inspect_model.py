"""Print what a network is made of, layer by layer, without training it.

Example:
    cnn-research inspect-model model=plain model.depth=3 data=mnist
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from research.analysis import as_dict, format_summary, summarize
from research.cli.keys import Command
from research.cli.wrapper import FORMATS, pop_choice, run_command
from research.config import Config
from research.data import DATASETS
from research.runs.program import build_network
from research.utils.constraints import OneOf


@dataclass(frozen=True)
class InspectKeys:
    """Keys of this command.

    Args:
        format: how the result is printed.
    """

    format: Annotated[str, OneOf(FORMATS)] = "table"


COMMAND = Command("inspect_model", __doc__, (InspectKeys,), ("model", "data"))


def job(values: dict[str, Any]) -> None:
    """Print the summary as a table or as JSON."""
    output = pop_choice(values, "format", FORMATS)
    config = Config.from_dict(values)
    dataset = DATASETS[config.data.name]
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    rows = summarize(net, (1, *dataset.image_shape))
    print(json.dumps(as_dict(rows), indent=2) if output == "json" else format_summary(rows))


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
