"""Look for the largest batch whose training steps fit into memory, and print it.

Standard output holds one number; the sizes that were tried are on standard error.

Example:
    cnn-research train model=plain training.batch_size=$(cnn-research find-batch-size model=plain)
"""

import sys
from typing import Any

from research.cli.keys import Command
from research.cli.wrapper import run_command
from research.config import CHOICES, Config
from research.runs.run import configure_jax
from research.sweeps.batch_size import Trial, find_batch_size

COMMAND = Command("find_batch_size", __doc__, (), (*CHOICES, "training"))


def job(values: dict[str, Any]) -> None:
    """Print the batch size."""
    config = Config.from_dict(values)
    configure_jax(config)
    trials = find_batch_size(config, on_trial=show)
    if all(trial.fits for trial in trials):
        print("a batch of all training images fits", file=sys.stderr)
    print(max(trial.batch_size for trial in trials if trial.fits))


def show(trial: Trial) -> None:
    """Print one trial to standard error."""
    size = "unknown memory" if trial.num_bytes is None else f"{trial.num_bytes / 1e6:,.0f} MB"
    words = f"batch {trial.batch_size}: {size}{'' if trial.fits else ', does not fit'}"
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
