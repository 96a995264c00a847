"""Say what a network is made of, layer by layer, without training it."""

import json
from typing import Any

from _main import main, pop_choice

from research.analysis import as_dict, format_summary, summarize
from research.build import build_network
from research.config import Config
from research.data import DATASETS


def job(values: dict[str, Any]) -> None:
    """Print the summary as a table or as JSON."""
    output = pop_choice(values, "format", ("table", "json"))
    config = Config.from_dict(values)
    dataset = DATASETS[config.data.name]
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    rows = summarize(net, (1, *dataset.image_shape))
    print(json.dumps(as_dict(rows), indent=2) if output == "json" else format_summary(rows))


if __name__ == "__main__":
    main("inspect_model", job)
