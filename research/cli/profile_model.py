"""Time each layer of a network, forward and backward, beside the whole training step.

The images are random and have the shape of those of the dataset.

Example:
    cnn-research profile-model model=simple_resnet data=cifar10 training.batch_size=128
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
from rich.console import Console
from rich.table import Column, Table

from research.analysis.layer_profile import LayerProfile, profile_layers
from research.benchmarks.timing import alternate
from research.benchmarks.train import make_ours
from research.cli.keys import FORMATS, Command
from research.cli.wrapper import pop_keys, read_optional_folder, run_command
from research.config import PRECISIONS, Config
from research.runs.build import build_network
from research.studies.figures.style import COLOURS, canvas, label, save
from research.utils.constraints import Between, OneOf

STEPS = 10
"""The number of training steps in one timing."""


@dataclass(frozen=True)
class ProfileKeys:
    """Keys of this command in addition to those of a run's configuration.

    Args:
        rounds: number of timings of each pass, of which the median counts.
        format: how the result is printed.
        out: folder of the JSON and the picture; null: neither is written.
    """

    rounds: Annotated[int, Between(2)] = 7
    format: Annotated[str, OneOf(FORMATS)] = "table"
    out: str | None = "outputs/profile_model"


CONFIG_KEYS = ("model", "optimizer", "schedule", "loss", "data", "training.batch_size", "training.precision")
COMMAND = Command("profile_model", __doc__, (ProfileKeys,), CONFIG_KEYS)


def job(values: dict[str, Any]) -> None:
    """Print a table or one JSON object, and write the JSON and a picture into a folder."""
    out = read_optional_folder(values, "out")
    keys = pop_keys(values, ProfileKeys)
    config = Config.from_dict(values)
    dataset, batch_size = config.data.images.describe(), config.training.batch_size
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    train, facts = make_ours(config, STEPS)
    layers, network = profile_layers(
        net,
        (batch_size, *dataset.image_shape),
        rounds=keys.rounds,
        dtype=PRECISIONS[config.training.precision],
    )
    seconds = alternate({"step": partial(train, STEPS)}, keys.rounds)["step"]
    result = {
        "device": jax.devices()[0].device_kind,
        "batch_size": batch_size,
        "layers": [asdict(layer) for layer in layers],
        "network": asdict(network),
        "step": {"ms": 1e3 * statistics.median(seconds) / STEPS, "temp_bytes": facts["temp_bytes"]},
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "profile_model.json").write_text(json.dumps(result, indent=2) + "\n")
        draw(layers, out / "profile_model")
    if keys.format == "json":
        print(json.dumps(result, indent=2))
    else:
        show(layers, network, result, Console(highlight=False, soft_wrap=True, width=160))
        if out is not None:
            print(f"picture {out / 'profile_model.png'}")


def show(
    layers: Sequence[LayerProfile], network: LayerProfile, result: dict[str, Any], console: Console
) -> None:
    """Print a row for each layer, their sum, the network, and the training step."""
    right = [Column(name, justify="right") for name in ("forward ms", "backward ms", "share")]
    right += [Column(name, justify="right") for name in ("forward MiB", "backward MiB")]
    table = Table("layer", "kind", *right, box=None)
    total = sum(each.forward.ms + each.backward.ms for each in layers)
    for each in (*layers, network):
        share = "" if each is network else f"{(each.forward.ms + each.backward.ms) / total:.0%}"
        sizes = [mebibytes(part.num_bytes) for part in (each.forward, each.backward)]
        if each is network:
            sums = (sum(getattr(layer, way).ms for layer in layers) for way in ("forward", "backward"))
            table.add_row("sum of the layers", "", *(f"{ms:.3f}" for ms in sums), "100%")
        name, kind = ("network as one program", "") if each is network else (each.path, each.layer)
        table.add_row(name, kind, f"{each.forward.ms:.3f}", f"{each.backward.ms:.3f}", share, *sizes)
    console.print(table)
    step = result["step"]
    temporary = "" if step["temp_bytes"] is None else f", with {mebibytes(step['temp_bytes'])} MiB temporary"
    console.print(
        f"the training step takes {step['ms']:.3f} ms{temporary}; it includes augmentation, loss and "
        f"optimizer; batch of {result['batch_size']}, device: {result['device']}"
    )


def mebibytes(num_bytes: int | None) -> str:
    """Return a size in MiB as text, or nothing if it is not known."""
    return "" if num_bytes is None else f"{num_bytes / 2**20:.1f}"


def draw(layers: Sequence[LayerProfile], path: Path) -> None:
    """Write a picture of time and memory by layer, the first layer on top.

    Args:
        layers: the profiles of the layers.
        path: path of the picture without suffix; it is written as SVG and as PNG.
    """
    rows = range(len(layers))
    with canvas(1, 2, (9.0, 1.0 + 0.22 * len(layers)), sharey=True) as (figure, axes):
        for way, shift, colour in (("forward", -0.2, COLOURS[0]), ("backward", 0.2, COLOURS[1])):
            passes = [getattr(layer, way) for layer in layers]
            places = [row + shift for row in rows]
            for axis, values in (
                (axes[0, 0], [each.ms for each in passes]),
                (axes[0, 1], [(each.num_bytes or 0) / 2**20 for each in passes]),
            ):
                axis.barh(places, values, 0.4, label=way, color=colour)
        axes[0, 0].set_yticks(rows, [label(layer.path) for layer in layers])
        axes[0, 0].invert_yaxis()
        axes[0, 0].set(title="Time of each layer alone", xlabel="ms")
        axes[0, 1].set(title="Memory of each layer alone", xlabel="MiB")
        axes[0, 1].legend()
        save(figure, path)


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
