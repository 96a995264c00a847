"""Nodes of Hydra's store, made from signatures and dataclasses: a function in a table is a choice.

The nodes are plain dicts: with dataclasses as nodes, OmegaConf would refuse a value before `research.config`
can say what is allowed.
"""

from hydra.core.config_store import ConfigStore

from research.cli.keys import Command, choice_rows, nested
from research.config import CHOICES
from research.utils.conf import CONF


def register(command: Command) -> None:
    """Store the choices of a command, and as `keys` its other keys with their defaults."""
    store = ConfigStore.instance()
    for group in CHOICES:  # Hydra reads GROUP=NAME as a choice wherever it knows the group
        store.repo.pop(group, None)
    for group in command.groups:
        for name, rows in choice_rows(group).items():
            node = {"name": name} | nested(rows).get(group, {})
            store.store(group=group, name=name, node=node, provider="research")
    store.store(name="keys", node=nested(command.rows()), provider="research")
    if "study" in command.config_keys:
        from research.studies import Study, study_names  # it takes half a second that other commands save

        for name in study_names():
            node = Study.from_conf(name).hydra_node()
            store.store(group="study", name=name, node=node, package="_global_", provider="research")


def choices(group: str) -> list[str]:
    """Return the sorted names of the choices of a group, from the store and from the files of `CONF`."""
    if not group or group.startswith("hydra"):
        return []
    names = {path.stem for path in (CONF / group).glob("*.yaml")}
    stored = ConfigStore.instance().repo.get(group, {})
    return sorted(names | {name.removesuffix(".yaml") for name in stored if name.endswith(".yaml")})
