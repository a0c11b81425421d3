"""Experiments: named overlays of a few lines, and which of them owns a stage's results.

Two experiments share every stage whose resolved configuration, and that of all its ancestors, is the same. Pure
functions on plain dictionaries, without any heavy import: the Snakefile calls them each time it is parsed.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from loopda.errors import ConfigError

# each stage: the stages whose files it reads, and the sections that it is told besides its own
STAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "town": ((), ()),
    "prepare": (("town",), ("data",)),
    "pretrain": (("prepare",), ("input", "network")),
    "warmup": (("pretrain",), ("input", "loops")),
    "pseudo_labels": (("warmup",), ("input",)),
    "self_train": (("pseudo_labels",), ("input", "loops")),
    "simclr": (("prepare",), ("input", "network")),
    "distill": (("self_train", "simclr"), ("input",)),
    "evaluate": ((), ("input",)),
    "illustrate": (("self_train",), ("input", "loops")),
}

MODEL_STAGES = ("pretrain", "warmup", "self_train", "distill")

Config = Mapping[str, Any]


def section(config: Config, experiment: str, stage: str) -> dict[str, Any]:
    """The resolved section of `stage` in `experiment`: what its config.yaml holds, and all that the stage is told.

    The sections it shares with other stages (`input`, `network`, `loops`) appear in it under their own names; `prepare`
    has no keys but those of `data`.
    """
    overlay = config["experiments"][experiment] or {}
    _, shared = STAGES[stage]
    if stage == "prepare":
        return merged(config["data"], overlay.get("data"))
    resolved = {name: merged(config[name], overlay.get(name)) for name in shared}
    return {**resolved, **merged(config.get(stage), overlay.get(stage))}


def owner(config: Config, experiment: str, *stages: str) -> str:
    """The first experiment, in the order of the file, that has `stages` and all their ancestors configured the same."""
    wanted = _lineage(config, experiment, stages)
    for candidate in config["experiments"]:
        if _lineage(config, candidate, stages) == wanted:
            return candidate
    raise AssertionError("an experiment equals itself")


def model_stages(config: Config, experiment: str) -> list[str]:
    """The stages of `experiment` that make a model, up to the one it ends with (`until`, by default the last)."""
    until = (config["experiments"][experiment] or {}).get("until", MODEL_STAGES[-1])
    return list(MODEL_STAGES[: MODEL_STAGES.index(until) + 1])


def as_yaml(values: Mapping[str, Any]) -> str:
    """`values` as YAML text, in their own order: the content of a stage's config.yaml."""
    return yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)


def merged(base: Any, overlay: Any) -> Any:
    """`base` with the values of `overlay`; mappings are merged key by key, everything else is replaced.

    A mapping that names another `layout` replaces the base's mapping whole: the keys of one layout mean nothing to another.
    """
    if overlay is None:
        return copy.deepcopy(base if base is not None else {})
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return copy.deepcopy(overlay)
    if "layout" in overlay and overlay["layout"] != base.get("layout"):
        return copy.deepcopy(overlay)
    result = {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in overlay.items():
        result[key] = merged(base.get(key), value)
    return result


def check(config: Config) -> None:
    """Refuse what a schema cannot see: unknown experiments, sections and stages, and weights files that are missing.

    ConfigError lists every fault.
    """
    faults = []
    experiments = config["experiments"]
    for name in config["run"]:
        if name not in experiments:
            faults.append(f"run: there is no experiment {name!r}; there are {', '.join(experiments)}")
    for name in experiments:
        for stage in STAGES:
            for path, value in _leaves(section(config, name, stage)):
                if path.endswith("weights") and value and not Path(value).is_file():
                    faults.append(
                        f"experiments.{name}: {stage}.{path}: no such file: {value}; "
                        "put the weights there, or set it to an empty string"
                    )
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))


def _lineage(config: Config, experiment: str, stages: tuple[str, ...]) -> str:
    """The sections of `stages` and of all their ancestors in one text."""
    found: dict[str, Any] = {}
    pending = list(stages)
    while pending:
        current = pending.pop()
        if current not in found:
            found[current] = section(config, experiment, current)
            pending += STAGES[current][0]
    return json.dumps(found, sort_keys=True)


def _leaves(values: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        return [(path, values)]
    return [
        leaf for key, value in values.items() for leaf in _leaves(value, f"{path}.{key}" if path else str(key))
    ]


def _plain(values: Any) -> Any:
    return json.loads(json.dumps(values))
