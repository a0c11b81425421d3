"""Comparisons: which models stand side by side in a table, and in which settings each differs from the others.

Pure functions on plain dictionaries, without any heavy import: the Snakefile calls them each time it is parsed.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from loopda.pipeline.experiments import (
    Config,
    ancestry,
    members,
    merged,
    model_stages,
    overlay,
    owner,
    scored_as,
    section,
)
from loopda.pipeline.stages import STAGES, TRAINING_STAGES

_SHARED = ("batch_size", "optimizer")  # of `adapt`, what every stage after the source-only model is held against
_STARTS = ("pretrain", "simclr")  # these start a network, and are held against nothing
_LAST = {"tau": "self_train"}  # Table 4 ends before the distillation


class Model(NamedTuple):
    """A model stage of an experiment, under the name of the experiment that its scores are filed under."""

    experiment: str
    stage: str


def models(config: Config, comparison: str) -> list[Model]:
    """The rows: source-only, then of each listed experiment the model stages that none before it has."""
    listed = config[comparison]
    first = (members(config, listed[0]) or listed)[0]
    found = [Model(scored_as(config, first, "pretrain"), "pretrain")]
    for name in listed:
        found += [Model(scored_as(config, name, stage), stage) for stage in _shown(config, comparison, name)]
    return list(dict.fromkeys(found))


def trained(config: Config, model: Model) -> list[Model]:
    """The trainings that made the model, each under its owner, from the source-only model on; of it alone its own."""
    its = members(config, model.experiment)
    ends = [(one, model_stages(config, one)[-1]) for one in its] or [model]
    found = [
        Model(owner(config, experiment, stage), stage)
        for experiment, last in ends
        for stage in TRAINING_STAGES
        if stage in ancestry(config, experiment, last)
    ]
    return list(dict.fromkeys(one for one in found if one.stage != "pretrain" or model.stage == "pretrain"))


def table(config: Config, comparison: str) -> dict[str, Any]:
    """The section of the stage `compare`: the settings that the rows share, and the rows with what is their own."""
    rows = models(config, comparison)
    base = rows[0].experiment
    common = section(config, base, "adapt")
    return {
        "comparison": comparison,
        "common": {key: common[key] for key in ("steps", *_SHARED)},
        "rows": [_row(config, model, base, across=comparison in ("compare", "parts", "networks")) for model in rows],
    }


def deviations(config: Config, model: Model, base: str, *, across: bool) -> dict[str, Any]:
    """Path of config.yaml -> value, where the settings behind `model` are not those of the experiment `base`.

    The choice of a method is no deviation, but its numbers are where the experiment changes them. `across` stages:
    those that go on from the source-only model are held against the section `adapt`, whose batches and optimiser the
    methods share.
    """
    experiment, stage = model
    needed = [name for name in STAGES if name in ancestry(config, experiment, stage)]
    chosen = {"adapt": {"method": section(config, experiment, "adapt")["method"]["name"]}} if "adapt" in needed else {}
    plain = {**config, "experiments": {base: merged(overlay(config, base), chosen)}}
    theirs = {path: value for name in needed for path, value in _settings(plain, base, name)}
    found = {
        path: value
        for name in needed
        for path, value in _settings(config, experiment, name)
        if path not in theirs or theirs[path] != value
    }
    common = dict(_leaves({key: section(plain, base, "adapt")[key] for key in _SHARED}))
    for name in needed if across else ():
        if name in TRAINING_STAGES and name not in (*_STARTS, "adapt"):
            its = dict(_leaves(section(config, experiment, name)))
            found |= {f"{name}.{path}": its[path] for path, value in common.items() if its.get(path, value) != value}
    return found


def _row(config: Config, model: Model, base: str, *, across: bool) -> dict[str, Any]:
    experiment, stage = model
    its = members(config, experiment)
    return {
        "experiment": experiment,
        "stage": stage,
        "members": its,
        "tau": section(config, experiment, "self_train")["agreement"]["tau"] if stage == "self_train" else None,
        "trained": [
            {**one._asdict(), "steps": section(config, one.experiment, one.stage)["steps"]}
            for one in trained(config, model)
        ],
        "own": {} if its else deviations(config, model, base, across=across),
    }


def _shown(config: Config, comparison: str, experiment: str) -> list[str]:
    stages = model_stages(config, experiment)
    last = _LAST.get(comparison)
    return stages[: stages.index(last) + 1] if last in stages else stages


def _settings(config: Config, experiment: str, stage: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a stage's resolved section, under their paths in config.yaml."""
    entry = STAGES[stage]
    values = section(config, experiment, stage)
    if stage == "adapt":
        method = values.pop("method")
        yield from _leaves({key: value for key, value in method.items() if key != "name"}, f"methods.{method['name']}")
    for key, value in values.items():
        yield from _leaves(value, key if key in entry.sections else f"{entry.section}.{key}")


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, values
