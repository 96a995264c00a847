"""Say what a network is made of, layer by layer, without training it."""

import json
from typing import Any

from _main import main

from research.analysis import as_dict, format_summary, summarize
from research.build import build_network
from research.config import Config, ConfigError
from research.data import DATASETS

FORMATS = ("table", "json")


def job(values: dict[str, Any]) -> None:
    """Print the summary as a table or as JSON."""
    output = values.pop("format")
    if output not in FORMATS:
        raise ConfigError(f"format={output} is not allowed; give one of {', '.join(FORMATS)}")
    config = Config.from_dict(values)
    dataset = DATASETS[config.data.name]
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    rows = summarize(net, (1, *dataset.image_shape))
    print(json.dumps(as_dict(rows), indent=2) if output == "json" else format_summary(rows))


if __name__ == "__main__":
    main("inspect_model", job)
