"""``debug.overfit_batch``: a run on one batch, which says whether the network learned it."""

import pytest

from research.config import Config, ConfigError
from research.layers import Dropout, Sequential
from research.layers.dropout import SpatialDropout, StochasticDepth
from research.layers.rewrite import rewrite, without_dropout
from research.models import MODELS
from research.records import read_run
from research.runs.overfit import describe_overfit, one_batch, overfit_config
from research.runs.run import build_data, run

TINY = {
    "model": {"name": "tiny"},
    "optimizer": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.5, "l1": 0.1},
    "data": {"train_limit": 100, "augmentations": ["noise"]},
    "training": {"epochs": 1, "ema": 0.9999, "patience": 1},
    "debug": {"overfit_batch": 32},
}


def test_a_batch_is_learned(tmp_path):
    config = Config.from_dict(TINY)
    result = run(config, tmp_path)
    record = read_run(tmp_path)
    assert (result.status, result.epochs, result.test_accuracy) == ("completed", 200, None)
    assert [line["step"] for line in record.metrics] == list(range(1, 201))
    assert describe_overfit(record).startswith(
        "The network learned the batch of 32 images: 32 are classified correctly, and the loss is 0.0"
    )
    assert Config.from_record(record.config) == config


@pytest.mark.parametrize(("learning_rate", "said"), [(1e-6, "images: "), (1e30, "loss is not finite")])
def test_a_batch_is_not_learned(learning_rate, said, tmp_path):
    values = TINY | {"optimizer": {"name": "sgd", "learning_rate": learning_rate}}
    run(Config.from_dict(values), tmp_path)
    sentence = describe_overfit(read_run(tmp_path))
    assert sentence.startswith("The network did not learn the batch of 32 images: ")
    assert said in sentence
    assert "optimizer.learning_rate" in sentence


def test_the_batch_has_all_classes_and_nothing_else_is_left_that_regularises():
    config = Config.from_dict(
        TINY | {"optimizer": {"name": "adam", "groups": [{"match": "logits", "weight_decay": 2}]}}
    )
    batch = one_batch(build_data(config.data), 32, 0)
    assert set(batch.train.labels) == set(range(10))
    assert batch.validation is batch.train
    changed = overfit_config(config)
    assert changed.optimizer.arguments["groups"][0].weight_decay == 0
    assert changed.data.augmentations == ()
    assert (changed.training.ema, changed.training.batch_size, changed.training.epochs) == (None, 32, 200)
    usual = Config.from_dict({})
    assert overfit_config(usual) is usual


def test_every_kind_of_dropout_is_off():
    net = MODELS["simple_resnet"]((8, 8, 1), 10, widths=(4,), dropout=0.5, stochastic_depth=0.5)
    spatial = Sequential((("net", net), ("drop", SpatialDropout(0.5))))
    rates = []

    def note(layer):
        if isinstance(layer, Dropout | SpatialDropout | StochasticDepth):
            rates.append(layer.rate)
        return layer

    rewrite(spatial, note)
    assert len(rates) == 5
    assert min(rates) > 0
    rates.clear()
    rewrite(without_dropout(spatial), note)
    assert rates == [0.0] * 5


def test_it_is_for_one_run_and_the_fingerprint_tells():
    config = Config.from_dict(TINY)
    usual = Config.from_dict(TINY | {"debug": {}})
    assert len({config.fingerprint(), usual.fingerprint()}) == 2
    plan = {"name": "s", "question": "?", "axis": "a", "arm": "x", "arms": ["x"], "reference": "x"}
    for more, key in (({"study": plan}, "study"), ({"distributed": {"mode": "auto"}}, "distributed")):
        with pytest.raises(ConfigError, match=f"debug.overfit_batch=32 is not allowed with {key}"):
            Config.from_dict(TINY | more)
    with pytest.raises(ConfigError, match=r"overfit_batch=0 is not allowed; give a whole number, at least 1"):
        Config.from_dict({"debug": {"overfit_batch": 0}})
    with pytest.raises(ConfigError, match="overfit_batch=101 is not allowed; give at most the 100 training"):
        one_batch(build_data(config.data), 101, 0)
