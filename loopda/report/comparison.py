"""A comparison, computed once: models side by side with their scores, what they cost, and their own settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from loopda.config import Section
from loopda.errors import DataError
from loopda.evaluation.scores import spread
from loopda.pipeline.stages import stage_title
from loopda.report.inputs import Domain, Evaluation, Metrics
from loopda.report.published import PublishedScore
from loopda.report.summary import (
    ByStatistics,
    Cell,
    Difference,
    MeanScores,
    by_statistics,
    change,
    check_comparable,
    domains,
    mean_scores,
    measure,
    protocols,
    set_title,
)

ModelKey = tuple[str, str]
"""The stage and the experiment of a model."""


class TrainedStage(Section):
    """A stage that was trained for a row, and the experiment that owns it."""

    experiment: str
    stage: str
    steps: int


class ListedModel(Section):
    """A row as the configuration lists it (`loopda.pipeline.comparisons`).

    baseline: the experiment whose source-only model the row's gain counts from. members: of an ensemble. tau: the
    threshold of the label overlap ratio, None of a model without one. own: the settings that are not those of the
    first row, as paths of config.yaml. subtracted: whether the differences between rows are those from this one.
    """

    experiment: str
    stage: str
    baseline: str
    members: tuple[str, ...]
    tau: float | None
    trained: tuple[TrainedStage, ...]
    own: dict[str, Any]
    subtracted: bool

    @property
    def key(self) -> ModelKey:
        return self.stage, self.experiment

    @property
    def is_source_only(self) -> bool:
        """Whether gains count from this model."""
        return self.key == ("pretrain", self.baseline)

    @property
    def steps(self) -> int:
        """The steps of all its trainings."""
        return sum(training.steps for training in self.trained)


@dataclass(frozen=True)
class Cost:
    """What a row's trainings took; None where it was not recorded.

    speed: images per second in the last of them, None of an ensemble. seconds: of all. memory: the peak of all in MB,
    on a GPU where `on_gpu`, else of the process.
    """

    speed: Cell | None
    seconds: Cell | None
    memory: Cell | None
    on_gpu: bool


@dataclass(frozen=True)
class ComparedModel:
    """A row: its scores by set of images, IoU by set and class, its cost.

    differences: by set of images, its mean IoU less that of the row that is subtracted; {} where there is none. kind:
    "bracket" for models that were trained with labels alone, which bracket the others, "ensemble", or "method".
    evaluations: of every seed.
    """

    title: str
    kind: str
    listed: ListedModel
    evaluations: tuple[Evaluation, ...]
    scores: dict[str, MeanScores]
    differences: dict[str, Difference | None]
    classes: dict[str, dict[str, Cell | None]]
    cost: Cost

    def mIoU(self, domain: str) -> Cell | None:
        """Its mean IoU on a set of images; None where it was not measured there, or is undefined."""
        return self.scores[domain].mIoU if domain in self.scores else None

    @property
    def own_settings(self) -> str:
        """Its own settings in one line, grouped by section; "" if it has none."""
        sections: dict[str, list[str]] = {}
        for path, value in self.listed.own.items():
            name, _, key = path.rpartition(".")
            sections.setdefault(name, []).append(f"{key} {_short(value)}")
        parts = [f"{name}: {', '.join(settings)}" for name, settings in sections.items()]
        members = self.listed.members
        return "; ".join([f"mean of the probabilities of {' and '.join(members)}"] * bool(members) + parts)


@dataclass(frozen=True)
class Comparison:
    """What the page and the tables of a comparison show.

    name: the key of its list in config.yaml. published: what papers report. common: the settings that the rows share.
    """

    name: str
    rows: tuple[ComparedModel, ...]
    published: tuple[PublishedScore, ...]
    common: Mapping[str, Any]

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """Those of all rows, in their order."""
        return [evaluation for model in self.rows for evaluation in model.evaluations]

    @cached_property
    def domains(self) -> list[str]:
        """The sets of images, night first; [] where no experiment has labelled images but those it learns from."""
        return domains(self.evaluations)

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({evaluation.seed for evaluation in self.evaluations})

    @cached_property
    def subtracted(self) -> ComparedModel | None:
        """The row that is subtracted from the others."""
        return next((model for model in self.rows if model.listed.subtracted), None)

    @cached_property
    def baselines(self) -> list[str]:
        """The experiments whose source-only models gains count from."""
        return list(dict.fromkeys(model.listed.baseline for model in self.rows))

    @cached_property
    def by_statistics(self) -> list[ByStatistics]:
        """The scores by normalisation statistics, where they may matter: of each set of images, those of each row."""
        rows = [by_statistics(model.evaluations, domain, model.title) for domain in self.domains for model in self.rows]
        return [row for row in rows if row and row.may_matter]

    def measured_alike(self, domain: str) -> list[list[ComparedModel]]:
        """The rows that were measured on `domain`, those together that have the same classes, images and sizes."""
        groups: dict[tuple[Any, ...], list[ComparedModel]] = {}
        for model in self.rows:
            if domain in model.scores:
                first = next(evaluation for evaluation in model.evaluations if domain in evaluation.domains)
                protocol = first.domains[domain].protocol
                size = (protocol.images, protocol.width, protocol.height, *protocol.scored_at, *protocol.classes)
                groups.setdefault((tuple(first.classes), tuple(first.colours), *size), []).append(model)
        return list(groups.values())


def compared(
    name: str,
    listed: Sequence[ListedModel],
    evaluations: Sequence[Evaluation],
    metrics: Sequence[Metrics],
    memory: Mapping[tuple[str, str, int], float],
    published: Sequence[PublishedScore],
    common: Mapping[str, Any],
) -> Comparison:
    """The comparison of the models `listed`, in their order.

    memory: (stage, experiment, seed) -> peak of the process in MB. DataError where a row or its source-only model has
    no scores, or where rows whose gains count from one source-only model were not measured alike.
    """
    by_model: dict[ModelKey, list[Evaluation]] = {}
    for evaluation in evaluations:
        by_model.setdefault((evaluation.model_stage, evaluation.experiment), []).append(evaluation)
    _check_complete(listed, by_model)
    for baseline in dict.fromkeys(model.baseline for model in listed):
        group = {model.key for model in listed if model.baseline == baseline}
        check_comparable([scored for scored in evaluations if (scored.model_stage, scored.experiment) in group])
    runs = {(run.origin.stage, run.origin.experiment, run.origin.seed): run for run in metrics}
    subtracted = [by_model[model.key] for model in listed if model.subtracted]
    rows = []
    for model in listed:
        own = by_model[model.key]
        base = [] if model.is_source_only else by_model["pretrain", model.baseline]
        measured_on = dict.fromkeys(domain for evaluation in own for domain in evaluation.domains)
        scores = {domain: mean_scores(own, base, domain) for domain in measured_on}
        others = subtracted if not model.subtracted else []
        differences = {domain: change(own, other, domain, _mIoU) for other in others for domain in measured_on}
        kind = "bracket" if model.stage == "pretrain" else "ensemble" if model.members else "method"
        cost = _cost(model, sorted(evaluation.seed for evaluation in own), runs, memory)
        classes = {domain: _classes(own, domain) for domain in scores}
        rows.append(ComparedModel(_title(model, listed), kind, model, tuple(own), scores, differences, classes, cost))
    return Comparison(name, tuple(rows), tuple(published), common)


def best(rows: Sequence[ComparedModel], domain: str) -> ComparedModel | None:
    """The row with the largest mean IoU on a set of images, without brackets; None if no row has a score."""
    scored = [(cell.mean, model) for model in rows if model.kind != "bracket" and (cell := model.mIoU(domain))]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def best_classes(rows: Sequence[ComparedModel], domain: str) -> dict[str, float]:
    """Class -> the largest mean IoU of a row that is no bracket."""
    result: dict[str, float] = {}
    for model in rows:
        for name, cell in model.classes.get(domain, {}).items() if model.kind != "bracket" else ():
            if cell is not None:
                result[name] = max(cell.mean, result.get(name, cell.mean))
    return result


def protocol_lines(comparison: Comparison) -> list[str]:
    """How each set of images was evaluated: a line for each set, with the experiments where they differ."""
    by_experiment: dict[str, list[Evaluation]] = {}
    for evaluation in comparison.evaluations:
        by_experiment.setdefault(evaluation.experiment, []).append(evaluation)
    lines = []
    for domain in comparison.domains:
        experiments: dict[str, list[str]] = {}
        for experiment, evaluations in by_experiment.items():
            if found := protocols(evaluations, domain):
                experiments.setdefault(" | ".join(found), []).append(experiment)
        for protocol, names in experiments.items():
            where = f" ({', '.join(names)})" if len(experiments) > 1 else ""
            lines.append(f"{set_title(domain).capitalize()}{where}: {protocol}.")
    return lines


def _check_complete(listed: Sequence[ListedModel], by_model: Mapping[ModelKey, Sequence[Evaluation]]) -> None:
    needed = dict.fromkeys(key for model in listed for key in (model.key, ("pretrain", model.baseline)))
    missing = ", ".join(
        f"{stage} of {experiment}" for stage, experiment in needed if (stage, experiment) not in by_model
    )
    if missing:
        raise DataError(f"--scores has none of {missing}; give the scores of every row that the configuration lists")


def _title(model: ListedModel, listed: Sequence[ListedModel]) -> str:
    """`source-only` for the source-only model that all gains count from; else the experiment's name, followed by the
    stage if the experiment has several rows."""
    source_only = [other for other in listed if other.is_source_only]
    if source_only == [model]:
        return stage_title(model.stage)
    rows = [other for other in listed if other.experiment == model.experiment]
    alone = model.stage in ("adapt", "ensemble") or len(rows) == 1
    return model.experiment if alone else f"{model.experiment}, {stage_title(model.stage)}"


def _mIoU(scores: Domain) -> float | None:
    return scores.mIoU


def _classes(models: Sequence[Evaluation], domain: str) -> dict[str, Cell | None]:
    return {name: measure(models, domain, lambda scores, name=name: scores.IoU[name]) for name in models[0].classes}


def _cost(
    model: ListedModel,
    seeds: Iterable[int],
    runs: Mapping[tuple[str, str, int], Metrics],
    memory: Mapping[tuple[str, str, int], float],
) -> Cost:
    found: dict[str, list[float]] = {"speed": [], "seconds": [], "gpu": [], "process": []}
    for seed in seeds:
        keys = [(training.stage, training.experiment, seed) for training in model.trained]
        trainings = [runs.get(key) for key in keys]
        if trainings and trainings[-1] and trainings[-1].speed is not None and not model.members:
            found["speed"].append(trainings[-1].speed)
        for name, values, whole in (
            ("seconds", [run and run.seconds for run in trainings], sum),
            ("gpu", [run and run.gpu_memory for run in trainings], max),
            ("process", [memory.get(key) for key in keys], max),
        ):
            if values and None not in values:
                found[name].append(whole(values))
    cells = {name: Cell(*spread(values), len(values)) if values else None for name, values in found.items()}
    return Cost(cells["speed"], cells["seconds"], cells["gpu"] or cells["process"], cells["gpu"] is not None)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(_short(part) for part in value)
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
