"""The stages of a study: pretrain, then fine-tune; train, then prune."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from research.config import NAME_KEYS, Config, ConfigError
from research.studies.overrides import as_overrides, make_config, overlay, refuse_unknown
from research.sweeps.stages import StagedRun
from research.utils.nested import dotted_keys, is_below, nested

KEYS = ("name", "base", "from", "arms", "fixed")


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    Args:
        name: name of the stage, and of the folder of its runs.
        base: overrides of this stage, flat, on top of those of the study.
        start: name of the earlier stage whose parameters a run starts from (``from`` in YAML), or None.
        arms: whether the arms differ in this stage; they always do in the last one.
        fixed: keys of ``base`` that the command line does not change, such as the size of the training split
            of a pretraining in a sweep over the size of the next stage.
    """

    name: str
    base: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    arms: bool = False
    fixed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that `make_stages` reads."""
        return {
            "name": self.name,
            "base": nested(self.base),
            "from": self.start,
            "arms": self.arms,
            "fixed": list(self.fixed),
        }


def make_stages(values: Any) -> tuple[Stage, ...]:
    """Build the stages of a study from a list of mappings.

    Raises:
        ConfigError: a key is unknown, a name is missing or given twice, or ``from`` names no earlier stage.

    Example:
        >>> [first, second] = make_stages([{"name": "pretrain"}, {"name": "finetune", "from": "pretrain"}])
        >>> second.start
        'pretrain'
    """
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ConfigError(f"stages={values} is not allowed; give a list of mappings with {', '.join(KEYS)}")
    stages: dict[str, Stage] = {}
    for value in values:
        refuse_unknown("stages", value, KEYS)
        name, start, arms = value.get("name"), value.get("from"), value.get("arms", False)
        is_text = isinstance(name, str) and name.isprintable()
        if not is_text or not name or "/" in name or name.startswith("."):
            raise ConfigError(f"stages.name={name} is not allowed; give a text that can name a folder")
        if name in stages:
            raise ConfigError(f"stages.name={name} is not allowed twice; give each stage a name of its own")
        if start is not None and start not in list(stages):
            earlier = f"one of {', '.join(stages)}" if stages else "null, since there is no earlier stage"
            raise ConfigError(f"stages.{name}.from={start} is not allowed; give {earlier}")
        if not isinstance(arms, bool):
            raise ConfigError(f"stages.{name}.arms={arms} is not allowed; give true or false")
        base, fixed = as_overrides(f"stages.{name}.base", value.get("base")), value.get("fixed", ())
        if not isinstance(fixed, Sequence) or not {*fixed} <= base.keys():
            raise ConfigError(
                f"stages.{name}.fixed={fixed} is not allowed; give a list of keys of its base, which has "
                f"{', '.join(base) or 'none'}"
            )
        stages[name] = Stage(name, base, start, arms, tuple(fixed))
    return tuple(stages.values())


def staged_run(
    values: Mapping[str, Any],
    plan: Mapping[str, Any],
    arm: Mapping[str, Any],
    stages: Sequence[Stage],
    *,
    explicit: Collection[str],
    winning: Collection[str] = (),
) -> StagedRun:
    """Return the runs of one arm and seed, one for each stage.

    Args:
        values: flat values that all stages share, the seed among them.
        plan: the section ``study`` of the last stage's run, with the name of the arm.
        arm: flat overrides of the arm.
        stages: the stages; an empty sequence means one stage without a name.
        explicit: keys of ``values`` that the user gave; they are kept if an override chooses another
            model, or another name of another section.
        winning: keys of ``values`` that take precedence over the overrides of a stage, such as those of the
            command line.

    Raises:
        ConfigError: a configuration is not allowed.
    """
    configs, starts = {}, {}
    stages = stages or (Stage(""),)
    last = stages[-1].name
    for stage in stages:
        base = {key: value for key, value in stage.base.items() if key not in winning or key in stage.fixed}
        layer = overlay(dict(values), base, explicit)
        has_arms = stage.name == last or stage.arms
        if has_arms:
            layer = overlay(layer, arm, {*explicit, *base})
        section = dict(plan)
        if stage.name != last:
            section |= {"tuning": None, "stage": stage.name} | ({} if has_arms else {"arm": stage.name})
        configs[stage.name] = make_config(layer, section)
        if stage.start is not None and "init_from.run" not in layer:
            starts[stage.name] = stage.start
    return StagedRun(configs, starts)


def staged_run_of_job(values: Mapping[str, Any], given: Collection[str] = ()) -> StagedRun:
    """Return the runs of one job of a sweep of the command line.

    The section ``study`` of a job may hold ``base`` and ``overrides`` (for each arm), and ``stages``, as
    `make_hydra_node` writes them.

    Args:
        values: the composed configuration of the job, nested.
        given: the keys of the command line, as `given_keys` returns them; they take precedence over the
            overrides of a stage, but not over those of an arm.

    Raises:
        ConfigError: there is no such arm, or a configuration is not allowed.
    """
    plan = values.get("study")
    if not isinstance(plan, Mapping) or "overrides" not in plan:
        return StagedRun.of(Config.from_dict(values))
    others = {key: value for key, value in values.items() if key != "study"}
    plan = dict(plan)
    arms, base, stages = plan.pop("overrides"), plan.pop("base", {}), make_stages(plan.pop("stages", None))
    if plan.get("arm") not in arms:
        raise ConfigError(f"study.arm={plan.get('arm')} is not allowed; give one of {', '.join(arms)}")
    flat = dotted_keys(others)
    if flat.get("init_from.run") is None:
        flat.pop("init_from.run", None)
    arm = as_overrides("study.overrides", arms[plan["arm"]])
    keys = [*flat, *(key for stage in stages for key in stage.base)]
    winning = {key for key in keys if is_below(key, given)}
    asked = {*as_overrides("study.base", base), *winning}
    return staged_run(flat, plan, arm, stages, explicit=asked, winning=winning)


def given_keys(overrides: Iterable[str]) -> set[str]:
    """Return the keys that the overrides of a command line give; a bare choice gives the name alone.

    Example:
        >>> sorted(given_keys(["model=tiny", "training.epochs=2", "+study=depth"]))
        ['model.name', 'study', 'training.epochs']
    """
    keys = {word.lstrip("+~").partition("=")[0] for word in overrides}
    return {NAME_KEYS.get(key, key) for key in keys}
