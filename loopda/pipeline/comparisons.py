"""Comparisons: which models stand side by side in a table, and in which settings each differs from the others.

Pure functions on plain dictionaries, without heavy imports: the Snakefile calls them each time it is parsed.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from loopda.pipeline.experiments import (
    Config,
    ancestry,
    members,
    model_stages,
    overlay,
    owner,
    scored_as,
    section,
)
from loopda.pipeline.merging import leaves, merged
from loopda.pipeline.stages import STAGES, TRAINING_STAGES

_COMMON = ("batch_size", "optimizer")  # keys of `adapt`; later stages with other values of them deviate
_START_STAGES = ("pretrain", "simclr")  # they start a network, so their own values of these keys are no deviation
_LAST_STAGE = {"tau": "self_train"}  # Table 4 ends before the distillation
_WITHIN_LOOPDA = ("ablation", "tau")  # their rows are LoopDA's own stages, with batches and optimisers of their own


class Model(NamedTuple):
    """A model stage, and the experiment in whose folder its scores are."""

    experiment: str
    stage: str


def models(config: Config, comparison: str) -> list[Model]:
    """The rows: of each listed experiment its source-only model and its model stages, each model once."""
    rows = [
        model
        for name in config[comparison]
        for model in (
            _source_only(config, name),
            *(Model(scored_as(config, name, stage), stage) for stage in _shown_stages(config, comparison, name)),
        )
    ]
    return list(dict.fromkeys(rows))


def trained(config: Config, model: Model) -> list[Model]:
    """The trainings that made the model, each under its owner; without source-only, unless it is the model itself."""
    averaged = members(config, model.experiment)
    ends = [(name, model_stages(config, name)[-1]) for name in averaged] or [model]
    found = [
        Model(owner(config, experiment, stage), stage)
        for experiment, last in ends
        for stage in TRAINING_STAGES
        if stage in ancestry(config, experiment, last)
    ]
    return list(dict.fromkeys(step for step in found if step.stage != "pretrain" or model.stage == "pretrain"))


def table(config: Config, comparison: str) -> dict[str, Any]:
    """The section of the stage `compare`: the settings that the rows share, and the rows with what is their own."""
    rows = models(config, comparison)
    common = section(config, rows[0].experiment, "adapt")
    subtracted = _subtracted(config, comparison)
    return {
        "comparison": comparison,
        "common": {key: common[key] for key in ("steps", *_COMMON)},
        "rows": [_row(config, comparison, model, rows[0]) | {"subtracted": model == subtracted} for model in rows],
    }


def deviations(config: Config, model: Model, base: str, *, across: bool) -> dict[str, Any]:
    """Path of config.yaml -> value, for the settings in which `model` differs from the experiment `base`.

    The choice of a method is no deviation; another value of one of its numbers is. across: also compare the batch size
    and the optimiser of the stages after source-only with those of `adapt`, which all methods share.
    """
    experiment, stage = model
    needed = [name for name in STAGES if name in ancestry(config, experiment, stage)]
    chosen = {"adapt": {"method": section(config, experiment, "adapt")["method"]["name"]}} if "adapt" in needed else {}
    plain = {**config, "experiments": {base: merged(overlay(config, base), chosen)}}
    base_settings = {path: value for name in needed for path, value in _settings(plain, base, name)}
    found = {
        path: value
        for name in needed
        for path, value in _settings(config, experiment, name)
        if path not in base_settings or base_settings[path] != value
    }
    common = dict(leaves({key: section(plain, base, "adapt")[key] for key in _COMMON}))
    for name in needed if across else ():
        if name in TRAINING_STAGES and name not in (*_START_STAGES, "adapt"):
            own = dict(leaves(section(config, experiment, name)))
            found |= {f"{name}.{path}": own[path] for path, value in common.items() if own.get(path, value) != value}
    return found


def _source_only(config: Config, experiment: str) -> Model:
    """The source-only model that `experiment` goes on from; an ensemble has its first member's."""
    first = (members(config, experiment) or [experiment])[0]
    return Model(scored_as(config, first, "pretrain"), "pretrain")


def _subtracted(config: Config, comparison: str) -> Model | None:
    """The row from which the differences of all others count: the last of the experiment `differences_from`.

    None where the list does not have it, and in `run`, whose experiments may be measured on different images.
    """
    name = config["differences_from"]
    if comparison == "run" or name not in config[comparison]:
        return None
    last = _shown_stages(config, comparison, name)[-1]
    return Model(scored_as(config, name, last), last)


def _row(config: Config, comparison: str, model: Model, first: Model) -> dict[str, Any]:
    """A row of `table`; `first`: the first of all rows.

    Gains count from the first row. In `run`, whose experiments need not have anything in common, they count from the
    source-only model of the row's own experiment.
    """
    experiment, stage = model
    averaged = members(config, experiment)
    baseline = _source_only(config, experiment) if comparison == "run" else first
    return {
        "experiment": experiment,
        "stage": stage,
        "baseline": baseline.experiment,
        "members": averaged,
        "tau": section(config, experiment, "self_train")["agreement"]["tau"] if stage == "self_train" else None,
        "trained": [
            {**training._asdict(), "steps": section(config, training.experiment, training.stage)["steps"]}
            for training in trained(config, model)
        ],
        "own": {} if averaged else _own_settings(config, comparison, model, baseline, first),
    }


def _own_settings(config: Config, comparison: str, model: Model, baseline: Model, first: Model) -> dict[str, Any]:
    """The settings in which `model` differs from the first row, without those that its source-only model lists."""
    across = comparison not in _WITHIN_LOOPDA
    own = deviations(config, model, first.experiment, across=across)
    if baseline in (first, model):
        return own
    listed = deviations(config, baseline, first.experiment, across=across)
    return {path: value for path, value in own.items() if (path, value) not in listed.items()}


def _shown_stages(config: Config, comparison: str, experiment: str) -> list[str]:
    stages = model_stages(config, experiment)
    last = _LAST_STAGE.get(comparison)
    return stages[: stages.index(last) + 1] if last in stages else stages


def _settings(config: Config, experiment: str, stage: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a stage's resolved section, under their paths in config.yaml."""
    entry = STAGES[stage]
    values = section(config, experiment, stage)
    if stage == "adapt":
        method = values.pop("method")
        yield from leaves({key: value for key, value in method.items() if key != "name"}, f"methods.{method['name']}")
    for key, value in values.items():
        yield from leaves(value, key if key in entry.sections else f"{entry.section}.{key}")
