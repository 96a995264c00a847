"""A study as a node of the command line's configuration: plain dicts, without Hydra."""

import re
from collections.abc import Mapping
from typing import Any

from research.config import CHOICES
from research.studies.study import Study
from research.utils.nested import nested

PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OTHER_MEANING = {"true", "false", "null", "nan", "inf"}


def make_hydra_node(study: Study) -> dict[str, Any]:
    """Return a node for the package ``_global_`` that sweeps over the arms of a study.

    If all arms are values of one key, the sweep is over that key, and ``study.arm`` is made from its value.
    Then ``model.depth=2,3`` on the command line sweeps over fewer arms. Otherwise the sweep is over
    ``study.arm``, and `staged_run_of_job` applies the overrides of the arm when its job starts.

    Args:
        study: the study.
    """
    plan, arms, base, stages = study.plan(), study.arms, study.base, study.stages
    chosen = {key.removesuffix(".name"): value for key, value in base.items() if _is_choice(key)}
    template = None if stages else _arm_template(arms)
    if template is not None:
        key = next(iter(next(iter(arms.values()))))
        section = plan | {"arm": template}
        swept = key.removesuffix(".name") if _is_choice(key) else key
        params = {swept: ",".join(hydra_text(overrides[key]) for overrides in arms.values())}
    else:
        section = plan | {
            "arm": plan["reference"],
            "overrides": {name: nested(overrides) for name, overrides in arms.items()},
            "base": nested(base),
            "stages": [stage.to_dict() for stage in stages],
        }
        params = {"study.arm": ",".join(map(hydra_text, arms))}
    return {
        "defaults": [{f"override /{group}": name} for group, name in chosen.items()],
        **nested({key: value for key, value in base.items() if not _is_choice(key)}),
        "study": section,
        "hydra": {"sweep": {"dir": f"multirun/{plan['name']}"}, "sweeper": {"params": params}},
    }


def hydra_text(value: Any) -> str:
    """Return a value as Hydra's grammar of overrides reads it.

    Example:
        >>> [hydra_text(value) for value in ("relu", "depth 2", 0.5, None)]
        ['relu', "'depth 2'", '0.5', 'null']
    """
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float):
        return str(value)
    if PLAIN_WORD.fullmatch(value) and value.lower() not in OTHER_MEANING:
        return value
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", "\\'")
    return f"'{escaped}'"


def _is_choice(key: str) -> bool:
    return key.removesuffix(".name") in CHOICES


def _arm_template(arms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return ``study.arm`` as an interpolation of the one key in which arms differ; None if there is none.

    Example:
        >>> _arm_template({"depth 1": {"model.depth": 1}, "depth 2": {"model.depth": 2}})
        'depth ${model.depth}'
    """
    items = [(name, *item) for name, overrides in arms.items() for item in overrides.items()]
    keys = {key for _, key, _ in items}
    if len(keys) != 1 or len(items) != len(arms):
        return None
    (key,) = keys
    if not all(name.endswith(str(value)) for name, _, value in items) or "$" in "".join(arms):
        return None
    prefix, *others = {name.removesuffix(str(value)) for name, _, value in items}
    kinds = {str, int, float} if prefix else {str}  # without a prefix, a number would not become a text
    if others or not {type(value) for _, _, value in items} <= kinds:
        return None
    source = f"hydra:runtime.choices.{key.removesuffix('.name')}" if _is_choice(key) else key
    return f"{prefix}${{{source}}}"
