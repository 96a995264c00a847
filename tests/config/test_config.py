"""The strict configuration."""

import inspect
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from research.config import Config, ConfigError
from research.data import DATASETS
from research.models import MODELS
from research.training.losses import LOSSES
from research.training.optimizers import OPTIMIZERS, Group
from research.training.schedules import SCHEDULES


def test_an_empty_dict_gives_the_defaults_with_every_key_filled_in():
    config = Config.from_dict({})
    assert config.model == Config.from_dict({"model": {"name": "plain"}}).model
    assert config.optimizer.name == "adam"
    assert config.to_dict()["training"]["batch_size"] == 64


def test_to_dict_and_from_dict_are_inverse():
    values = {"seed": 3, "model": {"name": "plain", "depth": 3}, "data": {"augmentations": ["flip"]}}
    config = Config.from_dict(values)
    assert Config.from_dict(config.to_dict()) == config
    assert config.model.arguments["depth"] == 3
    assert hash(config) == hash(Config.from_dict(values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, "there is no key sed; allowed: model, optimizer, schedule, seed"),
        ({"model": {"name": "plain", "dept": 3}}, r"there is no key model\.dept; allowed: depth"),
        ({"model": {"name": "plane"}}, r"model\.name=plane is not allowed; give one of classic"),
        ({"model": {"depth": 2}}, r"model\.name=null is not allowed; give one of classic"),
        ({"model": 5}, "model=5 is not allowed; give one of classic, .*, or a mapping with a name"),
        ({"model": {"name": "plain", "depth": 9}}, r"model\.depth=9 is not allowed; give .*from 1 to 4"),
        (
            {"model": {"name": "plain", "depth": 2.5}},
            r"model\.depth=2\.5 is not allowed; give a whole number",
        ),
        (
            {"model": {"name": "plain", "activation": "rlu"}},
            r"model\.activation=rlu is not .* one of elu, gelu",
        ),
        ({"data": {"name": "minst"}}, r"data\.name=minst is not allowed; give one of cifar10"),
        ({"data": {"augmentations": "flip"}}, r"data\.augmentations=flip is not allowed; give a list"),
        ({"optimizer": {"name": "adm"}}, r"optimizer\.name=adm is not allowed; give one of adagrad"),
        ({"optimizer": {"name": "sgd", "b1": 0.9}}, r"there is no key optimizer\.b1; allowed: learning_rate"),
        (
            {"optimizer": {"name": "sgd", "learning_rate": "fast"}},
            "learning_rate=fast .* give a number, above 0",
        ),
        ({"optimizer": {"name": "sgd", "learning_rate": float("nan")}}, "learning_rate=nan is not allowed"),
        (
            {"training": {"batch_size": 0}},
            r"training\.batch_size=0 is not allowed; give a whole number, at least 1",
        ),
        ({"training": {"batch_size": True}}, "batch_size=True is not allowed"),
        (
            {"training": {"runs_per_program": 2**31}},
            "training.runs_per_program=2147483648 is not allowed; give .* to 1024",
        ),
        ({"training": {"keep": "all"}}, r"training\.keep=all is not allowed; give one of best, last"),
        ({"training": None}, "training=null is not allowed; give a mapping"),
        ({"seed": "one"}, "seed=one is not allowed; give a whole number, from 0 to 4294967295"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"study": {"name": "depth"}}, r"study\.question is missing"),
        ({"model": "plane"}, r"model\.name=plane is not allowed; give one of classic"),
        ({"data": "minst"}, r"data\.name=minst is not allowed; give one of cifar10"),
        ({"data": ["mnist"]}, r"data=\['mnist'\] is not allowed; give a mapping with the keys name"),
        ({"training": {"replicas": 8}}, "training.replicas is now training.runs_per_program; give that key"),
        ({"parallel": {"mesh": {"replica": 2}}}, "parallel.mesh.replica is now parallel.mesh.run"),
        (
            {"training": {"label_smoothing": 0.1}},
            "label_smoothing is now loss.label_smoothing; give",
        ),
        (
            {"model": {"name": "plain", "batch_norm": True}},
            "model.batch_norm is now model.norm; give that",
        ),
        (
            {"model": {"name": "plain", "stochastic_depth": 0.1}},
            r"there is no key model\.stochastic_depth; allowed: depth, widths",
        ),
        (
            {"model": {"name": "plain", "norm": "batchnorm"}},
            "norm=batchnorm is not .* one of batch, group",
        ),
        ({"logging": "wandb"}, r"logging\.to=wandb is not allowed; give one of all, mlflow, none"),
        ({"logging": None}, "logging=null is not allowed; give a mapping with the keys to"),
        ({"optimizer": {"name": "sgd", "sam": 0}}, "optimizer.sam=0 is not allowed; give a number, above 0"),
    ],
)
def test_a_wrong_value_names_the_key_the_value_and_what_is_allowed(values, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_dict(values)


MISTAKES = {
    "activation": (
        {"model.activation": "rlu"},
        "model.activation=rlu is not allowed; give one of elu, gelu,",
    ),
    "initializer": (
        {"model.initializer": "xavier"},
        "model.initializer=xavier is not allowed; give one of",
    ),
    "algorithm": (
        {"model.algorithm": "fast"},
        "model.algorithm=fast is not allowed; give one of auto, depthwise, fft, im2col,",
    ),
    "negative batch": (
        {"training.batch_size": -1},
        "training.batch_size=-1 is not allowed; give a whole number",
    ),
    "no batch": (
        {"training.batch_size": 0},
        "training.batch_size=0 is not allowed; give a whole number, at least 1",
    ),
    "depth": ({"model.depth": 9}, "model.depth=9 is not allowed; give a whole number, from 1 to 4"),
    "seed": ({"seed": "one"}, "seed=one is not allowed; give a whole number, from 0 to 4294967295"),
    "rate": (
        {"optimizer.learning_rate": -1},
        "optimizer.learning_rate=-1 is not allowed; give a number, above 0",
    ),
    "augmentation": (
        {"data.augmentations": ["flop"]},
        "data.augmentations=flop is not allowed; give one of affine, ",
    ),
    "added key": ({"extra": 1}, "there is no key extra; allowed: model, optimizer,"),
    "debug": ({"debug.nans": 1}, "debug.nans=1 is not allowed; give true or false"),
    "a number too large": (
        {"optimizer.epsilon": int("9" * 400)},
        "99 is not allowed; give a smaller number",
    ),
    "a loop too long": (
        {"schedule.name": "step", "schedule.drops": 1000000000000},
        "drops=1000000000000 is not",
    ),
    "blocks": (
        {"model.name": "simple_resnet", "model.blocks": 1000000000},
        "model.blocks=1000000000 is not allowed",
    ),
}
"""Values by dotted key, as the command line takes them, and a part of the sentence that refuses them."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_command_line_is_one_sentence(mistake):
    changes, sentence = MISTAKES[mistake]
    values: dict = {"model": {"name": "plain"}, "optimizer": {"name": "adam"}, "schedule": {"name": "cosine"}}
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = value
    with pytest.raises(ConfigError) as refused:
        Config.from_dict(values)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_whole_number_serves_as_a_number():
    config = Config.from_dict({"optimizer": {"name": "sgd", "learning_rate": 1}})
    assert config.optimizer.arguments["learning_rate"] == 1.0
    assert isinstance(config.optimizer.arguments["learning_rate"], float)


def test_the_fingerprint_tells_runs_apart_but_not_where_the_data_lies():
    base = Config.from_dict({})
    assert Config.from_dict({"seed": 1}).fingerprint() != base.fingerprint()
    assert Config.from_dict({"data": {"dir": "/elsewhere"}}).fingerprint() == base.fingerprint()
    assert Config.from_dict({"model": {"name": "plain", "depth": 2}}).fingerprint() == base.fingerprint()


def test_a_run_name_is_a_plain_folder_name():
    study = {
        "name": "s",
        "question": "?",
        "axis": "a",
        "arm": "../x y",
        "arms": ["../x y"],
        "reference": "../x y",
    }
    name = Config.from_dict({"study": study}).run_name()
    assert "/" not in name
    assert " " not in name
    long = {"arm": "x" * 300, "arms": ["x" * 300], "reference": "x" * 300}
    assert len(Config.from_dict({"study": study | long}).run_name()) < 120


def test_a_choice_may_be_a_name_alone():
    names = {"model": "tiny", "data": "mnist", "optimizer": "sgd", "schedule": "step", "parallel": "jit"}
    assert Config.from_dict(names) == Config.from_dict({key: {"name": name} for key, name in names.items()})
    assert all(Config.from_dict(names).to_dict()[key]["name"] == name for key, name in names.items())


@pytest.mark.parametrize("name", DATASETS)
def test_null_is_the_number_that_the_dataset_recommends_and_has_its_fingerprint(name):
    spec = DATASETS[name]
    config = Config.from_dict({"data": name})
    assert (config.training.epochs, config.training.batch_size) == (spec.epochs, spec.batch_size)
    numbers = {"epochs": spec.epochs, "batch_size": spec.batch_size}
    for training in (numbers, dict.fromkeys(numbers), {}):
        same = Config.from_dict({"data": {"name": name}, "training": training})
        assert same.fingerprint() == config.fingerprint()
    other = Config.from_dict({"data": name, "training": {"epochs": spec.epochs + 1, "batch_size": None}})
    assert other.training.epochs == spec.epochs + 1
    assert other.training.batch_size == spec.batch_size


TABLES = {"model": MODELS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in TABLES for name in TABLES[group]])
def test_the_defaults_of_a_choice_are_those_of_its_signature(group, name):
    parameters = inspect.signature(TABLES[group][name]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    if group == "optimizer":
        defaults |= {"groups": (), "layer_decay": 1.0, "lookahead": None, "lookahead_step_size": 0.5}
        defaults |= {"clip_value": None, "clip_agc": None, "gradient_noise": 0.0, "l1": 0.0}
        defaults |= {"max_norm": None, "sam": None, "decay_all": False}
    assert getattr(Config.from_dict({group: name}), group).arguments == defaults


def test_numbers_and_arrays_of_numpy_are_those_of_python():
    plain = {
        "seed": 3,
        "model": {"name": "tiny", "widths": [4, 8]},
        "optimizer": {"name": "sgd", "clip_norm": 0.5},
    }
    given = {
        "seed": np.int64(3),
        "model": {"name": np.str_("tiny"), "widths": np.array([4, 8])},
        "optimizer": {"name": "sgd", "clip_norm": np.float32(0.5)},
    }
    config = Config.from_dict(given)
    assert config == Config.from_dict(plain)
    assert config.fingerprint() == Config.from_dict(plain).fingerprint()
    tuples = Config.from_dict(plain | {"model": {"name": "tiny", "widths": (np.int32(4), 8)}})
    assert tuples.to_dict() == config.to_dict()
    with pytest.raises(ConfigError, match=r"seed=1\.5 is not allowed; give a whole number"):
        Config.from_dict({"seed": np.float64(1.5)})


def test_a_run_from_before_the_monitor_was_a_key_is_read():
    values = Config.from_dict({}).to_dict()
    del values["training"]["monitor"]
    assert Config.from_dict(values).training.monitor == "accuracy"
    by_loss = Config.from_dict({"training": {"monitor": "loss"}})
    assert by_loss.fingerprint() != Config.from_dict({}).fingerprint()
    with pytest.raises(ConfigError, match=r"training\.monitor=f1 is not allowed; give one of accuracy, loss"):
        Config.from_dict({"training": {"monitor": "f1"}})


def test_values_of_numpy_and_jax_and_paths_are_those_of_python():
    given = {
        "seed": np.int64(3),
        "model": {"name": np.str_("mlp"), "hidden": np.array([8, 16])},
        "data": {"dir": Path("data"), "validation_fraction": np.float64(0.25), "train_limit": np.array(100)},
        "training": {"epochs": jnp.int32(2), "xla_cpu_use_fusion_emitters": np.bool_(True)},
    }
    plain = {
        "seed": 3,
        "model": {"name": "mlp", "hidden": [8, 16]},
        "data": {"dir": "data", "validation_fraction": 0.25, "train_limit": 100},
        "training": {"epochs": 2},
    }
    config = Config.from_dict(given)
    assert config == Config.from_dict(plain)
    assert yaml.safe_load(yaml.safe_dump(config.to_dict())) == Config.from_dict(plain).to_dict()
    with pytest.raises(ConfigError, match=r"seed=\[3\] is not allowed; give a whole number"):
        Config.from_dict({"seed": np.array([3])})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {},
            "training.keep=best is not allowed with data.validation_fraction=0, .*; give training.keep=last",
        ),
        (
            {"keep": "last", "patience": 2},
            "training.patience=2 is not allowed with .*; give training.patience=null",
        ),
    ],
)
def test_without_a_validation_split_the_last_parameters_are_kept(values, message):
    config = Config.from_dict({"data": {"validation_fraction": 0}, "training": {"keep": "last"}})
    assert config.data.validation_fraction == 0
    with pytest.raises(ConfigError, match=message):
        Config.from_dict({"data": {"validation_fraction": 0}, "training": values})


def test_the_plateau_is_refused_without_a_validation_split():
    values = {"data": {"validation_fraction": 0}, "training": {"keep": "last"}, "schedule": "plateau"}
    with pytest.raises(ConfigError, match=r"schedule=plateau is not allowed with data\.validation"):
        Config.from_dict(values)


def test_epochs_that_were_added_later_are_in_the_fingerprint():
    at_once = Config.from_dict({"training": {"epochs": 40}})
    later = Config.from_dict({"training": {"epochs": 40, "continued_from": [20]}})
    assert later.training.continued_from == (20,)
    assert later.fingerprint() != at_once.fingerprint()


def test_a_run_from_before_its_keys_were_renamed_is_read():
    values = Config.from_dict({"model": {"name": "plain", "norm": "batch"}}).to_dict()
    values["model"]["batch_norm"] = values["model"].pop("norm") == "batch"
    values["training"]["label_smoothing"] = 0.1
    values["logging"] = "tensorboard"
    values["training"]["replicas"] = values["training"].pop("runs_per_program")
    del values["loss"]
    config = Config.from_record(values)
    assert config.logging.to == "tensorboard"
    assert config.model.arguments["norm"] == "batch"
    assert config.loss.arguments == {"label_smoothing": 0.1, "class_weights": None}
    assert config.training.runs_per_program == 1
    assert Config.from_record(config.to_dict()) == config
    values["model"]["batch_norm"] = False
    assert Config.from_record(values).model.arguments["norm"] == "none"


def test_groups_of_parameters_are_mappings_of_checked_keys():
    group = {"match": "*/bias", "learning_rate": 2, "weight_decay": 0}
    config = Config.from_dict({"optimizer": {"name": "sgd", "groups": [group]}})
    assert config.optimizer.arguments["groups"] == (Group("*/bias", None, 2.0, 0.0),)
    assert Config.from_dict(config.to_dict()) == config
    for wrong, sentence in (
        (
            {"learning_rate": 2},
            r"optimizer\.groups\.match is missing; optimizer\.groups needs a value for match",
        ),
        ({"match": "*", "rate": 2}, r"there is no key optimizer\.groups\.rate; allowed: match, optimizer"),
        ({"match": "*", "learning_rate": -1}, r"optimizer\.groups\.learning_rate=-1 is not allowed"),
        ({"match": "*", "optimizer": "adm"}, r"optimizer\.groups\.optimizer=adm is not allowed; give one of"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Config.from_dict({"optimizer": {"name": "sgd", "groups": [wrong]}})


def test_schedule_free_takes_the_constant_schedule_by_default_and_no_other():
    for optimizer in ("schedule_free_adamw", {"name": "schedule_free_adamw", "learning_rate": 0.1}):
        assert Config.from_dict({"optimizer": optimizer}).schedule.name == "constant"
    assert Config.from_dict({"optimizer": "adam"}).schedule.name == "cosine"
    sentence = "schedule=cosine is not allowed with optimizer=schedule_free_adamw; give constant"
    groups = [{"match": "logits", "optimizer": "schedule_free_adamw"}]
    for optimizer in ("schedule_free_adamw", {"name": "adam", "groups": groups}):
        with pytest.raises(ConfigError, match=sentence):
            Config.from_dict({"optimizer": optimizer, "schedule": "cosine"})


def test_the_images_of_a_user_count_by_their_content(tmp_path):
    for folder, label in ((tmp_path / "a", 0), (tmp_path / "b", 0), (tmp_path / "c", 1)):
        folder.mkdir()
        np.savez(folder / "x.npz", x=np.zeros((20, 4, 4), np.uint8), y=np.arange(20) % 2 + label)

    def config(folder, **data):
        data = {"source": "npz", "path": str(tmp_path / folder / "x.npz"), "cache_dir": str(tmp_path)} | data
        return Config.from_dict({"data": data})

    a, b, c = (config(folder).fingerprint() for folder in "abc")
    assert a == b != c
    assert (config("a").data.name, config("a").training.batch_size) == ("x", 1)
    assert Config.from_dict(config("a").to_dict()) == config("a")
    (tmp_path / "a" / "x.npz").unlink()
    record = config("b").to_dict()
    record["data"]["path"] = str(tmp_path / "a" / "x.npz")
    # what a finished run did can be read without its images
    assert Config.from_record(record).data.name == "x"
    with pytest.raises(ConfigError, match=r"data.name=y is not allowed with .*, since the name is x"):
        config("b", name="y")
