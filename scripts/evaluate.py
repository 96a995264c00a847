"""Measure the saved parameters of a run on its test split again."""

from typing import Any

from _main import main, pop_folder

from research.run import configure_jax, evaluate


def job(values: dict[str, Any]) -> None:
    """Print test loss and accuracy of ``run``."""
    configure_jax()
    measured = evaluate(pop_folder(values))
    print(f"test loss {measured['test_loss']!r}")
    print(f"test accuracy {measured['test_accuracy']!r}")


if __name__ == "__main__":
    main("evaluate", job)
