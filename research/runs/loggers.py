"""The callbacks that the section `logging` of a configuration asks for."""

from pathlib import Path

import numpy as np

from research.config import Config
from research.data import Dataset
from research.data.splits import stratified_order, take
from research.runs.callbacks import TensorBoard
from research.runs.layer_statistics import StatisticsWriter
from research.runs.tracking import Mlflow
from research.training.callback import Callback
from research.training.program import Program


def make_loggers(
    config: Config, folder: Path, program: Program, dataset: Dataset, num_shards: int
) -> list[Callback]:
    """Return the callbacks that write statistics of the layers, and the metrics for other programs.

    Args:
        config: the configuration of the run.
        folder: the folder of the run.
        program: the program of the run.
        dataset: the data of the run.
        num_shards: number of devices over which a batch is split. The layers are measured on as many images
            as one device computes at a time.
    """
    statistics = None
    if config.logging.statistics:
        assert program.measure_layers is not None
        count = program.batch_size // num_shards // (config.training.accumulate or 1)
        chosen = take(dataset.train, stratified_order(dataset.train.labels, config.seed)[:count])
        statistics = StatisticsWriter(
            folder,
            program.measure_layers,
            chosen._replace(images=np.asarray(chosen.images)),
            program.steps_per_epoch,
            histograms=config.logging.includes("tensorboard"),
        )
    loggers: list[Callback] = [] if statistics is None else [statistics]
    if config.logging.includes("tensorboard"):
        loggers.append(TensorBoard(folder, statistics))
    if config.logging.includes("mlflow"):
        loggers.append(Mlflow(folder, config, statistics))
    return loggers
