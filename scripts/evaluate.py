"""Measure the saved parameters of a run on its test split again."""

from pathlib import Path
from typing import Any

from _main import main

from research.run import configure_jax, evaluate


def job(values: dict[str, Any]) -> None:
    """Print test loss and accuracy of ``run``."""
    configure_jax()
    measured = evaluate(Path(values["run"]))
    print(f"test loss {measured['test_loss']!r}")
    print(f"test accuracy {measured['test_accuracy']!r}")


if __name__ == "__main__":
    main("evaluate", job)
