"""The network that a finished run left behind: its parameters, and the data it was trained on."""

from pathlib import Path
from typing import NamedTuple

import jax

from research import records
from research.build import build_data, program_spec
from research.config import Config
from research.data import Dataset, Preprocess
from research.layers import Params, Serial, State
from research.training import checkpoint


class Trained(NamedTuple):
    """A network with the parameters that its run kept; ``preprocess`` turns pixels into what it reads."""

    net: Serial
    params: Params
    model_state: State
    preprocess: Preprocess
    dataset: Dataset


def load_trained(folder: Path) -> Trained:
    """Load the network of a finished run.

    Raises:
        FileNotFoundError: the folder is not a run.
        RecordError: the run did not finish.
        CheckpointError: its parameters are missing or damaged.
        DataError: the dataset is missing or damaged.
    """
    record = records.read_run(folder)
    if record.status != "completed":
        raise records.RecordError(f"{folder} holds no trained parameters: the run is {record.status}")
    config = Config.from_dict(record.config)
    dataset = build_data(config)
    spec = program_spec(config, dataset)
    like = jax.eval_shape(lambda: spec.net.init(jax.random.key(0), (1, *spec.image_shape)))
    saved = checkpoint.restore(
        folder / "checkpoints" / "final", dict(zip(("params", "model_state"), like, strict=True))
    )
    return Trained(spec.net, saved["params"], saved["model_state"], spec.preprocess, dataset)
