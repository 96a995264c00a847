"""Measure the saved parameters of a run on its test split again."""

from typing import Any

from research.cli.wrapper import pop_folder, run_command
from research.runs.run import configure_jax, evaluate


def job(values: dict[str, Any]) -> None:
    """Print test loss and accuracy of ``run``."""
    configure_jax()
    measured = evaluate(pop_folder(values))
    print(f"test loss {measured['test_loss']!r}")
    print(f"test accuracy {measured['test_accuracy']!r}")


def main() -> None:
    """Run the command and exit."""
    run_command("evaluate", job)
