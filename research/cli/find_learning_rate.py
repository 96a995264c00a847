"""Look for a learning rate by a short training with a rising rate, and print it.

Standard output holds one number, the rate at which the loss falls fastest; the rest is on standard error.

Example:
    cnn-research train model=plain optimizer.learning_rate=$(cnn-research find-learning-rate model=plain)
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.cli.keys import Command
from research.cli.wrapper import pop_keys, read_optional_folder, run_command
from research.config import CHOICES, Config
from research.runs.run import configure_jax
from research.studies.figures.style import COLOURS, canvas, save, shared_legend
from research.sweeps.learning_rate import RangeConfig, RangeTest, find_learning_rate


@dataclass(frozen=True)
class LearningRateKeys:
    """Keys of this command in addition to those of a run's configuration.

    Args:
        out: folder of the JSON and the picture; null: neither is written.
    """

    out: str | None = "outputs/find_learning_rate"


COMMAND = Command(
    "find_learning_rate",
    __doc__,
    (LearningRateKeys, RangeConfig),
    (*CHOICES, "seed", "training", "init_from"),
)


def job(values: dict[str, Any]) -> None:
    """Print the suggested rate, and write the losses and a picture into a folder."""
    out = read_optional_folder(values, "out")
    pop_keys(values, LearningRateKeys)
    settings = pop_keys(values, RangeConfig)
    config = Config.from_dict(values)
    configure_jax(config)
    test = find_learning_rate(config, settings)
    suggestions = {"steepest": test.steepest, "tenth_of_minimum": test.minimum / 10}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        result = {"rates": test.rates, "losses": test.losses} | suggestions
        (out / "find_learning_rate.json").write_text(json.dumps(result, indent=2) + "\n")
        draw(test, out / "find_learning_rate")
        print(f"picture {out / 'find_learning_rate.png'}", file=sys.stderr)
    ended = "" if len(test.rates) == settings.steps else f", stopped at {test.rates[-1]:.3g}"
    print(
        f"{len(test.rates)} steps{ended}; the loss is lowest at {test.minimum:.3g}, "
        f"a tenth of which is {test.minimum / 10:.3g}; it falls fastest at {test.steepest:.3g}",
        file=sys.stderr,
    )
    print(f"{test.steepest:.3g}")


def draw(test: RangeTest, path: Path) -> None:
    """Write a picture of the loss by learning rate, with both suggestions.

    Args:
        test: the range test.
        path: path of the picture without suffix; it is written as SVG and as PNG.
    """
    smoothed = test.smoothed
    with canvas(1, 1, (6.4, 3.6)) as (figure, axes):
        axis = axes[0, 0]
        axis.plot(test.rates, test.losses, ".", color="#7F7F7F", markersize=3, label="loss of a step")
        axis.plot(test.rates, smoothed, color=COLOURS[0], label="smoothed")
        suggestions = {"steepest descent": test.steepest, "a tenth of the minimum": test.minimum / 10}
        for (name, rate), colour, line in zip(suggestions.items(), COLOURS[1:], ("-", "--"), strict=False):
            axis.axvline(rate, color=colour, linestyle=line, label=f"{name}, {rate:.3g}")
        low, high = smoothed.min(), smoothed[0]
        axis.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
        axis.set(xscale="log", xlabel="learning rate", ylabel="training loss", title="Range test")
        shared_legend(figure, axis, 6.4)
        save(figure, path)


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
