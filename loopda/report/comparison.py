"""Models side by side: the rows of a comparison with their scores, what they cost, and what is their own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loopda.errors import DataError
from loopda.evaluation.scores import spread
from loopda.pipeline.stages import stage_title
from loopda.report.inputs import Evaluation, Metrics
from loopda.report.summary import Cell, MeanScores, change, measure, row

Place = tuple[str, str]
"""A stage and an experiment."""


@dataclass(frozen=True)
class Listed:
    """A row as the configuration lists it: see `loopda.pipeline.comparisons`."""

    experiment: str
    stage: str
    members: tuple[str, ...]
    tau: float | None
    trained: tuple[Place, ...]
    steps: int
    own: Mapping[str, Any]


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
class Side:
    """A row: its scores by set of images, IoU by set and class, its cost.

    kind: "bracket" for models that were trained with labels alone, which bracket the others, "ensemble", or "method".
    """

    title: str
    kind: str
    listed: Listed
    scores: dict[str, MeanScores]
    classes: dict[str, dict[str, Cell | None]]
    cost: Cost

    @property
    def own(self) -> str:
        """Its own settings in one line, those of a section behind each other; "" where there are none."""
        sections: dict[str, list[str]] = {}
        for path, value in self.listed.own.items():
            name, _, key = path.rpartition(".")
            sections.setdefault(name, []).append(f"{key} {_short(value)}")
        parts = [f"{name}: {', '.join(settings)}" for name, settings in sections.items()]
        members = self.listed.members
        return "; ".join([f"mean of the probabilities of {' and '.join(members)}"] * bool(members) + parts)


def sides(
    listed: Sequence[Listed],
    evaluations: Sequence[Evaluation],
    metrics: Sequence[Metrics],
    memory: Mapping[tuple[str, str, int], float],
) -> list[Side]:
    """The rows in their order, the first of which is what the others' gain counts from.

    memory: (stage, experiment, seed) -> peak of the process in MB. DataError where a row has no scores.
    """
    by_model: dict[Place, list[Evaluation]] = {}
    for one in evaluations:
        by_model.setdefault((one.model_stage, one.experiment), []).append(one)
    missing = [one for one in listed if (one.stage, one.experiment) not in by_model]
    if missing:
        names = ", ".join(f"{one.stage} of {one.experiment}" for one in missing)
        raise DataError(f"--scores has none of {names}; give the scores of every row that the configuration lists")
    base = by_model[listed[0].stage, listed[0].experiment]
    runs = {(one.origin.stage, one.origin.experiment, one.origin.seed): one for one in metrics}
    result = []
    for place, one in enumerate(listed):
        models = by_model[one.stage, one.experiment]
        scores = {domain: row(models, base, domain) for domain in dict.fromkeys(d for m in models for d in m.domains)}
        if place:
            scores = {domain: replace(its, gain=_gain(models, base, domain)) for domain, its in scores.items()}
        kind = "bracket" if one.stage == "pretrain" else "ensemble" if one.members else "method"
        seeds = sorted(model.seed for model in models)
        title = _title(one, listed)
        classes = {domain: _classes(models, domain) for domain in scores}
        cost = _cost(one.trained, seeds, runs, memory)
        if one.members:
            cost = replace(cost, speed=None)
        result.append(Side(title, kind, one, scores, classes, cost))
    return result


def best(rows: Sequence[Side], domain: str) -> Side | None:
    """The row with the largest mean IoU on a set of images, brackets apart; None where none has one."""
    scored = [
        (side.scores[domain].mIoU.mean, side) for side in rows if _reached(side, domain) and side.kind != "bracket"
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def best_classes(rows: Sequence[Side], domain: str) -> dict[str, float]:
    """Class -> the largest mean IoU of a row that is no bracket."""
    result: dict[str, float] = {}
    for side in rows:
        for name, cell in side.classes.get(domain, {}).items() if side.kind != "bracket" else ():
            if cell is not None:
                result[name] = max(cell.mean, result.get(name, cell.mean))
    return result


def _reached(side: Side, domain: str) -> bool:
    return domain in side.scores and side.scores[domain].mIoU is not None


def _title(one: Listed, listed: Sequence[Listed]) -> str:
    """`source-only` for the first row, the experiment's name where it has one row, else with the stage behind it."""
    if one is listed[0]:
        return stage_title(one.stage)
    rows = [other for other in listed[1:] if other.experiment == one.experiment]
    own = one.stage in ("adapt", "ensemble") or (len(rows) == 1 and one.experiment != listed[0].experiment)
    return one.experiment if own else f"{one.experiment}, {stage_title(one.stage)}"


def _gain(models: Sequence[Evaluation], base: Sequence[Evaluation], domain: str) -> Cell | None:
    return change(models, base, domain, lambda scores: scores.mIoU)


def _classes(models: Sequence[Evaluation], domain: str) -> dict[str, Cell | None]:
    return {name: measure(models, domain, lambda scores, name=name: scores.IoU[name]) for name in models[0].classes}


def _cost(
    trained: Sequence[Place],
    seeds: Iterable[int],
    runs: Mapping[tuple[str, str, int], Metrics],
    memory: Mapping[tuple[str, str, int], float],
) -> Cost:
    found: dict[str, list[float]] = {"speed": [], "seconds": [], "gpu": [], "process": []}
    for seed in seeds:
        keys = [(*place, seed) for place in trained]
        its = [runs.get(key) for key in keys]
        if its and its[-1] and its[-1].speed is not None:
            found["speed"].append(its[-1].speed)
        for name, values, whole in (
            ("seconds", [one and one.seconds for one in its], sum),
            ("gpu", [one and one.gpu_memory for one in its], max),
            ("process", [memory.get(key) for key in keys], max),
        ):
            if values and None not in values:
                found[name].append(whole(values))
    cells = {name: Cell(*spread(values), len(values)) if values else None for name, values in found.items()}
    return Cost(cells["speed"], cells["seconds"], cells["gpu"] or cells["process"], cells["gpu"] is not None)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(_short(one) for one in value)
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
