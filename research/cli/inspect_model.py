"""Say what a network is made of, layer by layer, without training it."""

import json
from typing import Any

from research.analysis import as_dict, format_summary, summarize
from research.cli.wrapper import pop_choice, run_command
from research.config import Config
from research.data import DATASETS
from research.runs.program import build_network


def job(values: dict[str, Any]) -> None:
    """Print the summary as a table or as JSON."""
    output = pop_choice(values, "format", ("table", "json"))
    config = Config.from_dict(values)
    dataset = DATASETS[config.data.name]
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    rows = summarize(net, (1, *dataset.image_shape))
    print(json.dumps(as_dict(rows), indent=2) if output == "json" else format_summary(rows))


def main() -> None:
    """Run the command and exit."""
    run_command("inspect_model", job)
