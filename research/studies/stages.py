"""The stages of a study: pretrain, then fine-tune; train, prune, then compress."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from research.config import NAME_KEYS, Config, ConfigError
from research.deploy.compress import FORMS
from research.studies.overrides import as_overrides, make_config, overlay, refuse_unknown
from research.sweeps.stages import StagedRun
from research.utils.constraints import Between, OneOf
from research.utils.nested import dotted_keys, is_below, nested
from research.utils.strict import construct

KEYS = ("name", "do", "base", "from", "arms", "only", "runs", "fixed", "forms")


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    Args:
        name: name of the stage, and of the folder of its runs.
        do: ``train``, or ``compress``, which only the last stage may have. Its runs make ONNX files of the
            networks of the arm's last training stage, and measure accuracy, size and time of the files.
        base: overrides of this stage, flat, on top of those of the study.
        start: name of the earlier stage whose parameters a run starts from (``from`` in YAML), or None. With
            the loss ``distillation``, a run of that stage is the teacher.
        arms: whether the arms differ in this stage; they always do in the last one.
        only: names of the arms that have this stage; empty: all arms have it.
        runs: number of runs for each seed of the study, each with a seed of its own; ``compress`` makes an
            ensemble of them.
        fixed: keys of ``base`` that the command line does not change, such as the size of the training split
            of a pretraining in a sweep over the size of the next stage.
        forms: form of the numbers in the files of ``compress`` by arm, names in `FORMS`; the other arms have
            ``float32``.
    """

    name: str
    do: Annotated[str, OneOf(("train", "compress"))] = "train"
    base: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    arms: bool = False
    only: tuple[str, ...] = ()
    runs: Annotated[int, Between(1, 999)] = 1
    fixed: tuple[str, ...] = ()
    forms: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that `make_stages` reads."""
        return {
            "name": self.name,
            "do": self.do,
            "base": nested(self.base),
            "from": self.start,
            "arms": self.arms,
            "only": list(self.only),
            "runs": self.runs,
            "fixed": list(self.fixed),
            "forms": dict(self.forms),
        }


def make_stages(values: Any) -> tuple[Stage, ...]:
    """Build the stages of a study from a list of mappings.

    Raises:
        ConfigError: a key is unknown, a value is not allowed, a name is missing or given twice, or ``from``
            names no earlier stage.

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
        name, start, forms = value.get("name"), value.get("from"), value.get("forms", {})
        is_text = isinstance(name, str) and name.isprintable()
        if not is_text or not name or "/" in name or name.startswith("."):
            raise ConfigError(f"stages.name={name} is not allowed; give a text that can name a folder")
        if name in stages:
            raise ConfigError(f"stages.name={name} is not allowed twice; give each stage a name of its own")
        if start is not None and start not in list(stages):
            earlier = f"one of {', '.join(stages)}" if stages else "null, since there is no earlier stage"
            raise ConfigError(f"stages.{name}.from={start} is not allowed; give {earlier}")
        if start is not None and stages[start].runs > 1:
            raise ConfigError(f"stages.{name}.from={start} is not allowed, because {start} has several runs")
        if not isinstance(forms, Mapping) or any(form not in tuple(FORMS) for form in forms.values()):
            raise ConfigError(
                f"stages.{name}.forms={forms} is not allowed; give a mapping from arms to {OneOf(FORMS)}"
            )
        typed = {key: value[key] for key in ("do", "arms", "only", "runs", "fixed") if key in value}
        stage = construct(Stage, {"name": name, **typed}, f"stages.{name}")
        base = as_overrides(f"stages.{name}.base", value.get("base"))
        if not {*stage.fixed} <= base.keys():
            raise ConfigError(
                f"stages.{name}.fixed={list(stage.fixed)} is not allowed; give a list of keys of its base, "
                f"which has {', '.join(base) or 'none'}"
            )
        stages[name] = replace(stage, base=base, start=start, forms=dict(forms))
    for stage in stages.values():
        _check_place(stage, is_last=stage is [*stages.values()][-1])
    return tuple(stages.values())


def _check_place(stage: Stage, *, is_last: bool) -> None:
    """Refuse a key of a stage that is only allowed in another stage."""
    compresses, name = stage.do == "compress", f"stages.{stage.name}"
    if compresses and not is_last:
        raise ConfigError(f"{name}.do=compress is not allowed before the last stage; give train")
    for key, is_given, why in (
        ("only", stage.only and is_last, "in the last stage"),
        ("runs", stage.runs > 1 and is_last, "in the last stage"),
        ("base", stage.base and compresses, "with do=compress"),
        ("from", stage.start and compresses, "with do=compress"),
        ("forms", stage.forms and not compresses, "with do=train"),
    ):
        if is_given:
            raise ConfigError(f"{name}.{key} is not allowed {why}; leave it out")


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
        ConfigError: a configuration is not allowed, or an arm does not have a stage that it needs.
    """
    stages = stages or (Stage(""),)
    configs, starts, last, layer, name = {}, {}, stages[-1].name, dict(values), plan["arm"]
    for stage in stages:
        if unknown := {*stage.only, *stage.forms} - {*plan["arms"]}:
            raise ConfigError(f"stages.{stage.name} names {unknown.pop()}, which is no arm of the study")
        if stage.only and name not in stage.only:
            continue
        section = dict(plan)
        if stage.do == "compress":
            if plan["tuning"] or not configs:
                why = "study.tuning is given" if plan["tuning"] else f"{name} has no earlier stage"
                raise ConfigError(f"stages.{stage.name}.do=compress is not allowed, because {why}")
            section |= {"compress": {"form": stage.forms.get(name, "float32")}}
            starts[stage.name] = list(configs)[-1]
        else:
            base = {key: each for key, each in stage.base.items() if key not in winning or key in stage.fixed}
            layer = overlay(dict(values), base, explicit)
            has_arms = stage.name == last or stage.arms
            if has_arms:
                layer = overlay(layer, arm, {*explicit, *base})
            if stage.name != last:
                section |= {"tuning": None, "stage": stage.name} | ({} if has_arms else {"arm": stage.name})
            if stage.start is not None and not {"init_from.run", "loss.teacher"} & layer.keys():
                if stage.start not in configs:
                    raise ConfigError(f"stages.{stage.name}.from={stage.start} is no stage of the arm {name}")
                starts[stage.name] = stage.start
        configs[stage.name] = make_config(layer, section)
    counts = {stage.name: stage.runs for stage in stages if stage.runs > 1}
    return StagedRun(configs, starts, counts)


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
