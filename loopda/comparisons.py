"""Comparisons: which models stand in a table side by side, and in which settings each differs from the others.

Pure functions on plain dictionaries, without any heavy import: the Snakefile calls them each time it is parsed.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from loopda.experiments import (
    ENSEMBLE,
    STAGES,
    TRAINING_STAGES,
    Config,
    ancestry,
    members,
    merged,
    model_stages,
    owner,
    scored_as,
    section,
)

STARTS = ("pretrain", "simclr")  # stages that start a network: their optimisers are nobody's deviation
_LAST = {"tau": "self_train"}  # Table 4 ends before the distillation


class Model(NamedTuple):
    """A model stage of an experiment, under the name of the experiment that its scores are filed under."""

    experiment: str
    stage: str


def models(config: Config, comparison: str) -> list[Model]:
    """The rows of a comparison: of each listed experiment, the model stages that none before it has."""
    found = [
        Model(scored_as(config, name, stage), stage)
        for name in config[comparison]
        for stage in _shown(comparison, model_stages(config, name))
    ]
    return list(dict.fromkeys(found))


def table(config: Config, comparison: str) -> dict[str, Any]:
    """The resolved section of the stage `compare`: the settings that all rows share, and the rows.

    `own` holds what a row's settings differ in from those of the first row's experiment, its method apart, as paths of
    config.yaml with values; `trained` the stages that were trained for it, each with its owner, and `steps` their steps.
    For both the source-only model does not count, from which the others start; a row of one stage is that stage.
    """
    rows = models(config, comparison)
    base = rows[0].experiment
    start = owner(config, base, "pretrain")
    common = section(config, base, "adapt")
    return {
        "comparison": comparison,
        "common": {key: common[key] for key in ("steps", "batch_size", "optimizer")},
        "rows": [_row(config, model, base, start) for model in rows],
    }


def steps_of(config: Config, model: Model) -> int:
    """The steps of all trainings that end in the model, of every network that takes part."""
    return sum(
        section(config, model.experiment, stage)["steps"] for stage in _trainings(config, model.experiment, model.stage)
    )


def _row(config: Config, model: Model, base: str, start: str) -> dict[str, Any]:
    experiment, stage = model
    its = members(config, experiment)
    trained = [
        {"stage": name, "experiment": owner(config, one, name), "steps": section(config, one, name)["steps"]}
        for one, last in ([(one, model_stages(config, one)[-1]) for one in its] or [(experiment, stage)])
        for name in _trainings(config, one, last)
    ]
    beyond = [one for one in trained if one["stage"] != "pretrain" or one["experiment"] != start]
    return {
        "experiment": experiment,
        "stage": stage,
        "method": None if its or stage != "adapt" else section(config, experiment, "adapt")["method"]["name"],
        "members": its,
        "trained": _once(beyond or trained),
        "own": {} if its else deviations(config, model, base),
    }


def deviations(config: Config, model: Model, base: str) -> dict[str, Any]:
    """Path of config.yaml -> value, where the settings behind `model` are not those of the experiment `base`.

    Its method is no deviation, but the method's own numbers are where the experiment changes them. Stages that go on
    from the source-only model are held against the section `adapt`, whose batches and optimiser all methods share.
    """
    experiment, stage = model
    needed = ancestry(config, experiment, stage)
    chosen = {"adapt": {"method": section(config, experiment, "adapt")["method"]["name"]}} if "adapt" in needed else {}
    plain = {**config, "experiments": {base: merged(config["experiments"][base], chosen)}}
    ours, theirs = (
        dict(leaf for name in sorted(needed, key=list(STAGES).index) for leaf in _settings(values, whose, name))
        for values, whose in ((config, experiment), (plain, base))
    )
    found = {path: value for path, value in ours.items() if path not in theirs or theirs[path] != value}
    common = section(config, base, "adapt")
    for name in needed.intersection(TRAINING_STAGES).difference(STARTS, ["adapt"]):
        its = section(config, experiment, name)
        shared = {key: common[key] for key in ("batch_size", "optimizer")}
        for path, value in _leaves({key: its[key] for key in shared if key in its}):
            if dict(_leaves(shared)).get(path) != value:
                found[f"{name}.{path}"] = value
    return found


def _trainings(config: Config, experiment: str, stage: str) -> list[str]:
    needed = ancestry(config, experiment, stage)
    return [name for name in TRAINING_STAGES if name in needed]


def _shown(comparison: str, stages: list[str]) -> list[str]:
    last = _LAST.get(comparison)
    return stages[: stages.index(last) + 1] if last in stages else stages


def _settings(config: Config, experiment: str, stage: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a stage's resolved section, under their paths in config.yaml."""
    _, shared = STAGES[stage]
    values = section(config, experiment, stage)
    if stage == "prepare":
        yield from _leaves(values, "data")
        return
    if stage == "adapt":
        method = dict(values.pop("method"))
        yield from _leaves(method, f"methods.{method.pop('name')}")
    for key, value in values.items():
        yield from _leaves(value, key if key in shared else f"{stage}.{key}")


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, values


def _once(trained: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for place, one in enumerate(trained) if one not in trained[:place]]


__all__ = ["ENSEMBLE", "Model", "deviations", "models", "steps_of", "table"]
