"""The choices of the command line are the functions of the tables, with their defaults."""

import subprocess
import sys
from typing import Any

import pytest
from omegaconf import OmegaConf

from research.cli import nodes, wrapper
from research.cli.hydra_keys import parse_word, quote_path
from research.cli.keys import augmentation_rows, choice_rows
from research.cli.train import COMMAND, TrainKeys
from research.config import CHOICES, LOGGERS, Config, ConfigError, TrainingConfig
from research.config.data import NEEDED_BY
from research.data import RECIPES
from research.models import MODELS
from research.models.mlp import mlp
from research.training.losses import LOSSES
from research.training.optimizers import OPTIMIZERS, Group
from research.training.schedules import SCHEDULES
from research.utils.docstrings import read_arguments


def composed(*words: str) -> Config:
    nodes.register(COMMAND)
    values: Any = OmegaConf.to_container(wrapper.compose_again(COMMAND, list(words)))
    return Config.from_dict(
        {key: value for key, value in values.items() if key not in ("run", "resume", "sweep")}
    )


NEED_A_PATH = (*NEEDED_BY, "distillation")
ENTRIES = [(group, name) for group in CHOICES for name in choice_rows(group) if name not in NEED_A_PATH]


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_a_name_gives_the_same_run_from_python_and_from_the_command_line(group, name):
    config = composed(f"{group}={name}")
    assert config == Config.from_dict({group: name})
    assert config.fingerprint() == Config.from_dict({group: name}).fingerprint()


@pytest.mark.parametrize("name", RECIPES)
def test_a_list_of_augmentations_is_the_same_from_python_and_from_the_command_line(name):
    config = composed("data=cifar10", f"augmentation={name}")
    assert config == Config.from_dict({"data": "cifar10", "augmentation": name})
    assert name in nodes.choices("augmentation")


def test_a_name_alone_chooses_where_metrics_are_logged():
    assert composed("logging=tensorboard") == Config.from_dict({"logging": "tensorboard"})
    assert composed("logging.to=tensorboard") == Config.from_dict({"logging": {"to": "tensorboard"}})
    assert nodes.choices("logging") == sorted(LOGGERS)


def test_augmentations_with_keywords_come_from_the_command_line():
    words = "data.augmentations=[{name: crop, padding: 2}, flip, {name: rotate, degrees: 15}]"
    asked = [{"name": "crop", "padding": 2}, "flip", {"name": "rotate", "degrees": 15.0}]
    assert composed(words) == Config.from_dict({"data": {"augmentations": asked}})
    assert composed("augmentation=standard", words) == composed(words)


def test_every_table_is_covered():
    tables = {"model": MODELS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES}
    for group, table in tables.items():
        assert list(choice_rows(group)) == list(table)


def test_schedule_free_has_the_constant_schedule_and_is_refused_with_another():
    assert composed("optimizer=schedule_free_adamw").schedule.name == "constant"
    assert composed("optimizer=adamw").schedule.name == "cosine"
    with pytest.raises(ConfigError, match="schedule=step is not allowed with optimizer=schedule_free_adamw"):
        composed("optimizer=schedule_free_adamw", "schedule=step")


def test_groups_of_parameters_are_mappings_on_the_command_line():
    words = ("optimizer=muon", "optimizer.groups=[{match: '*/bias', learning_rate: 2}, {match: '!conv1'}]")
    assert composed(*words, "optimizer.lookahead=5").optimizer.arguments["groups"] == (
        Group("*/bias", learning_rate=2.0),
        Group("!conv1"),
    )


def test_a_new_function_in_a_table_is_a_new_choice(monkeypatch, stored_anew):
    def wide(image_shape, num_classes, *, hidden: tuple[int, ...] = (7,)):
        return mlp(image_shape, num_classes, hidden=hidden)

    monkeypatch.setitem(MODELS, "wide", wide)
    assert composed("model=wide").model.arguments == {"hidden": (7,)}
    assert composed("model=wide", "model.hidden=[3]").model.arguments == {"hidden": (3,)}
    assert "wide" in nodes.choices("model")


def test_a_number_of_epochs_beats_the_recommendation_of_the_dataset(monkeypatch, tmp_path):
    assert composed("data=mnist").training == Config.from_dict({"data": "mnist"}).training
    assert composed("data=mnist", "training.epochs=7").training.epochs == 7
    main = nodes.CONF / "config.yaml"
    (tmp_path / "config.yaml").write_text(main.read_text().replace("epochs: null", "epochs: 9"))
    monkeypatch.setattr(wrapper, "CONF", tmp_path)
    assert composed("data=mnist").training.epochs == 9
    assert composed("data=cifar10").training.epochs == 9


def test_every_key_has_a_meaning():
    rows = [*COMMAND.rows(), *(row for group, name in ENTRIES for row in choice_rows(group)[name])]
    rows += [row for found in augmentation_rows().values() for row in found]
    assert all(row.meaning and row.allowed for row in rows), [row.key for row in rows if not row.meaning]
    assert {"run", "resume", "sweep.retry_failed", "seed", "training.epochs", "distributed.mode"} <= {
        row.key for row in rows
    }
    keys = [row.key.split(".")[1] for row in rows if row.key.startswith("training.")]
    assert list(dict.fromkeys(keys)) == list(TrainingConfig.__dataclass_fields__)
    assert list(read_arguments(TrainKeys)) == list(TrainKeys.__dataclass_fields__)


def test_help_shows_the_keys_of_the_chosen_model(call):
    said = call("train.py", "--help", "model=simple_resnet", "model.blocks=3")
    assert said.code == 0
    assert "model.blocks=3" in said.out
    assert "residual blocks in each stage" in said.out.lower()
    assert "model.depth=2" not in said.out
    for group in CHOICES:
        assert f"  {group} " in said.out


def test_cfg_job_shows_the_values(call):
    said = call("train.py", "--cfg", "job", "optimizer=adamw")
    assert said.code == 0
    values: Any = OmegaConf.to_container(OmegaConf.create(said.out))
    assert values["optimizer"]["weight_decay"] == 0.01
    assert values["training"]["epochs"] is None


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_lists_its_commands_in_four_groups():
    said = run(sys.executable, "-m", "research.cli", "--help")
    assert said.returncode == 0
    headings = [line for line in said.stdout.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == ["train:", "compare:", "understand:", "use:"]
    scripts = {path.stem.replace("_", "-") for path in (nodes.CONF.parent / "scripts").glob("*.py")}
    listed = {line.split()[0] for line in said.stdout.splitlines() if line.startswith("  ")}
    assert listed == scripts


def test_a_command_says_its_own_name():
    said = run(sys.executable, "-m", "research.cli", "inspect-model", "model=plane")
    assert said.returncode == 2
    assert said.stderr.startswith(
        "cnn-research inspect-model: model=plane is not allowed; give one of classic,"
    )
    assert said.stderr.count("\n") == 1


def test_an_unknown_command_is_one_sentence():
    said = run(sys.executable, "-m", "research.cli", "tran")
    assert said.returncode == 2
    assert said.stderr.startswith("cnn-research: there is no command tran; give one of train, search,")


@pytest.mark.parametrize(
    "path", ["größe (1),b", "it's", "a=b", "{x}", "[x", "2024", "x#y", "C:\\x\\", "true", "~"]
)
def test_a_path_is_read_as_it_is_written(path):
    override = parse_word(quote_path(f"data.path={path}"))
    assert override is not None
    assert not override.is_sweep_override()
    assert override.value() == path
