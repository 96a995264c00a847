"""Download a dataset, check it, and write it as a TFDS folder, with no TensorFlow installed."""

from typing import Any

from _main import main

from research.config import Config
from research.data import prepare


def job(values: dict[str, Any]) -> None:
    """Prepare ``data`` in ``data.dir``."""
    mirror = values.pop("mirror")
    data = Config.from_dict(values).data
    folder = prepare(data.name, data_dir=data.dir, mirror=mirror)
    print(f"{data.name} is in {folder}")


if __name__ == "__main__":
    main("prepare_data", job)
