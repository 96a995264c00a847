"""Registration of the choices and keys of a command in Hydra's store, from signatures and dataclasses.

The nodes are plain dicts. If they were dataclasses, OmegaConf would refuse a value before `research.config`
can say what is allowed.
"""

from collections.abc import Iterable
from typing import Any

from hydra.core.config_store import ConfigStore

from research.cli.keys import Command, Row, choice_rows
from research.config import CHOICES, data_choice
from research.training.optimizers import ONLY_SCHEDULE
from research.utils.conf import CONF
from research.utils.nested import nested

_stored: Command | None = None


def register(command: Command) -> None:
    """Store the choices of a command, and a node `keys` with the defaults of its other keys.

    A second call with the same command changes nothing.
    """
    global _stored
    if command is _stored:
        return
    store = ConfigStore.instance()
    for group in CHOICES:  # another command may read GROUP=NAME as a key of its own
        store.repo.pop(group, None)
    for group in command.groups:
        for name, rows in choice_rows(group).items():
            node = {"name": name} | _defaults(rows).get(group, {})
            node |= data_choice(name) if group == "data" else {}
            if group == "optimizer" and name in ONLY_SCHEDULE and "schedule" in command.groups:
                # the package is that of the group in the file of the command
                node["defaults"] = [{"override /schedule@_global_.schedule": ONLY_SCHEDULE[name]}]
            store.store(group=group, name=name, node=node, provider="research")
    for group in ("augmentation", "logging"):
        store.repo.pop(group, None)
        for name, node in command.presets.get(group, {}).items():
            store.store(group=group, name=name, node=node, package="_global_", provider="research")
    store.store(name="keys", node=_defaults(command.rows()), provider="research")
    if "study" in command.config_keys:
        from research.studies import Study, study_names  # other commands start without them
        from research.studies.hydra_node import make_hydra_node

        for name in study_names():
            node = make_hydra_node(Study.from_conf(name))
            store.store(group="study", name=name, node=node, package="_global_", provider="research")
    _stored = command


def choices(group: str) -> list[str]:
    """Return the sorted names of the choices of a group, from the store and from the files of `CONF`."""
    if not group or group.startswith("hydra"):
        return []
    names = {path.stem for path in (CONF / group).glob("*.yaml")}
    stored = ConfigStore.instance().repo.get(group, {})
    return sorted(names | {name.removesuffix(".yaml") for name in stored if name.endswith(".yaml")})


def _defaults(rows: Iterable[Row]) -> dict[str, Any]:
    return nested({row.key: row.default for row in rows})
