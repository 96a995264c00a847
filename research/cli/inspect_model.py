"""Print the layers of a network, their shapes and their costs, without training it.

Example:
    cnn-research inspect-model model=plain model.depth=3 data=mnist
"""

import json
from typing import Any

from research.analysis import as_dict, format_summary, summarize
from research.cli.keys import Command, FormatKeys
from research.cli.wrapper import pop_keys, run_command
from research.config import Config
from research.runs.build import build_network

COMMAND = Command("inspect_model", __doc__, (FormatKeys,), ("model", "data"))


def job(values: dict[str, Any]) -> None:
    """Print the summary as a table or as JSON."""
    output = pop_keys(values, FormatKeys).format
    config = Config.from_dict(values)
    dataset = config.data.images.describe()
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    rows = summarize(net, (1, *dataset.image_shape))
    print(json.dumps(as_dict(rows), indent=2) if output == "json" else format_summary(rows))


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
