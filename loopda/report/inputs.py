"""What the pages read: scores of `evaluate`, metrics of the training stages, configurations.

Every file is checked as it is read; a DataError names the file, what is wrong with it and the remedy.
"""

import csv
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from loopda.errors import DataError
from loopda.evaluation.scores import Scores
from loopda.pipeline.stages import stage_order
from loopda.runtime.json_files import JsonFile, JsonPart, read_json, read_result

_NO_CURVES = ("step", "seconds", "images_per_second", "gpu_memory_mb", "skipped")


class Protocol(JsonPart):
    """How a set of images was evaluated. A score means nothing without it.

    width, height: of the network's input, and of the labels unless `scored_at` names the sizes of their files.
    classes: those that are scored; [] for all.
    """

    images: int
    width: int
    height: int
    scored_at: list[str] = Field(default_factory=list)
    upsampling: str = ""
    normalisation: str = ""
    absent: list[str] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list)

    def line(self) -> str:
        """`60 images, 256x128, night statistics`; `50 images, 960x540 scored at 1920x1080, night statistics`."""
        scored = f" scored at {' and '.join(self.scored_at)}" if self.scored_at else ""
        parts = [f"{self.images} images", f"{self.width}x{self.height}{scored}", self.normalisation]
        return ", ".join(part for part in parts if part)


class PredictedImage(JsonPart):
    """One evaluated image: the photograph, its true label map (or "") and the predicted one, of class indices."""

    image: str
    label: str = ""
    prediction: str


class SetScores(JsonPart):
    """The scores on one set of images, in percent, null where undefined. confusion: the truth in its rows."""

    mIoU: float | None
    fwIoU: float | None
    pixel_accuracy: float | None
    IoU: dict[str, float | None]
    confusion: list[list[int]]


class OtherScores(SetScores):
    """The scores with other normalisation statistics than the stated ones. used: whose."""

    used: str


class UsedStatistics(JsonPart):
    """The normalisation statistics of an evaluation.

    used: whose. distances: of the images from the statistics of each domain (`loopda.models.statistics.distances`), {}
    where the model has shared ones; above `far`, the images lie far from them. other: the scores with other statistics,
    where they were taken.
    """

    used: str
    distances: dict[str, float]
    far: float
    other: OtherScores | None = None

    @property
    def distance(self) -> float | None:
        """The distance from the used statistics; None where they are the images' own, or shared."""
        return max((self.distances[name] for name in self.used.split(" and ") if name in self.distances), default=None)


class Domain(SetScores):
    """The scores on one set of images, and how they were made. statistics: None in files of earlier versions."""

    protocol: Protocol
    statistics: UsedStatistics | None = None
    predictions: list[PredictedImage] = Field(default_factory=list)

    def line(self) -> str:
        """The line of the protocol, with the classes where only some are scored: `..., 2 of 19 classes: road, car`."""
        classes = self.protocol.classes
        some = f", {len(classes)} of {len(self.IoU)} classes: {', '.join(classes)}" if classes else ""
        return self.protocol.line() + some


_Byte = Annotated[int, Field(ge=0, le=255)]


class Evaluation(JsonFile):
    """One JSON of `evaluate`: one model on every validation set."""

    model_stage: str
    experiment: str
    seed: int
    model: str
    sha256: str = ""
    parameters: int
    classes: list[str]
    colours: list[tuple[_Byte, _Byte, _Byte]]
    domains: dict[str, Domain]

    @model_validator(mode="after")
    def _agree_with_itself(self) -> "Evaluation":
        if len(self.colours) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.colours)} colours")
        for name, domain in self.domains.items():
            blocks: dict[str, SetScores] = {name: domain}
            if domain.statistics and domain.statistics.other:
                blocks[f"{name}.statistics.other"] = domain.statistics.other
            for where, block in blocks.items():
                if list(block.IoU) != self.classes:
                    raise ValueError(f"domains.{where}.IoU lists other classes than `classes`")
                _check_scores(where, block, self.classes, domain.protocol.classes)
        return self


@dataclass(frozen=True)
class Origin:
    """The place of a file in the grammar of results: `<stage>/<experiment>/seed<k>/<file>`.

    seed: None of stages without a seed (`<stage>/<experiment>/<file>`).
    """

    stage: str
    experiment: str
    seed: int | None


@dataclass(frozen=True)
class Metrics:
    """The metrics.jsonl of one run.

    curves: name -> (steps, values). speed: median of images per second. seconds: of training, in all. gpu_memory: peak
    in MB, None where it was not measured.
    """

    origin: Origin
    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    speed: float | None
    seconds: float | None
    gpu_memory: float | None = None


@dataclass(frozen=True)
class Configuration:
    """The resolved section that a stage ran with, as text."""

    origin: Origin
    text: str


def read_evaluations(paths: Iterable[Path]) -> list[Evaluation]:
    """Read the JSON files of `evaluate`, by experiment, stage and seed; DataError where two are the same."""
    found: dict[tuple[str, int, str], Path] = {}
    evaluations = []
    for path in paths:
        evaluation = read_json(path, Evaluation, "run the stage `evaluate` again")
        key = (evaluation.experiment, evaluation.seed, evaluation.model_stage)
        if key in found:
            raise DataError(f"{path}: the same experiment, seed and model stage as {found[key]}; give each result once")
        found[key] = Path(path)
        evaluations.append(evaluation)
    return sorted(evaluations, key=lambda model: (model.experiment, stage_order(model.model_stage), model.seed))


def read_metrics(path: Path) -> Metrics:
    """Read a metrics.jsonl. A run that was killed and resumed may repeat steps: the last record of a step counts."""
    path = Path(path)
    if origin(path).seed is None:
        raise DataError(f"{path}: expected a folder seed<k>; the place tells what the file is of")
    records: dict[int, dict[str, object]] = {}
    for number, line in enumerate(read_result(path, "run the training stage again").splitlines(), start=1):
        try:
            record = json.loads(line)
            records[int(record["step"])] = record
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}: line {number} is not a metrics record with a step; run its stage again") from None
    ordered = [records[step] for step in sorted(records)]
    names = dict.fromkeys(name for record in ordered for name in record)
    curves = {name: _curve(ordered, name) for name in names if name not in _NO_CURVES}
    seconds, speeds, memory = (_curve(ordered, name)[1] for name in ("seconds", "images_per_second", "gpu_memory_mb"))
    return Metrics(
        origin=origin(path),
        curves={name: curve for name, curve in curves.items() if curve[0].size},
        speed=float(np.median(speeds)) if speeds.size else None,
        seconds=float(seconds[-1]) if seconds.size else None,
        gpu_memory=float(memory.max()) if memory.size else None,
    )


def read_peak_memory(path: Path) -> float | None:
    """The largest max_rss in MB of a benchmark file of Snakemake; None where it is missing, or too short to measure."""
    if not Path(path).is_file():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        values = [line.get("max_rss") or "" for line in csv.DictReader(file, delimiter="\t")]
    measured = [float(value) for value in values if re.fullmatch(r"[\d.]+", value)]
    return max(measured, default=None)


def read_configuration(path: Path) -> Configuration:
    """Read the config.yaml beside a result, as it stands."""
    return Configuration(origin(path), read_result(path, "run its stage again"))


def origin(path: Path) -> Origin:
    """Stage, experiment and seed of a result from its place `<stage>/<experiment>[/seed<k>]/<file>`."""
    path = Path(path)
    folders = list(path.parts[:-1])
    seed = re.fullmatch(r"seed(\d+)", folders[-1]) if folders else None
    if seed:
        folders.pop()
    if len(folders) >= 2:
        return Origin(stage=folders[-2], experiment=folders[-1], seed=int(seed[1]) if seed else None)
    raise DataError(f"{path}: expected <stage>/<experiment>/seed<k>/{path.name}; the place tells what the file is of")


def find(picture: str, beside: Path) -> Path:
    """The path of a picture that the file `beside` names; DataError where there is none.

    A relative path counts from the working directory, or else from the folder of that file.
    """
    for place in (Path(picture), Path(beside).parent / picture):
        if place.is_file():
            return place
    raise DataError(f"{picture}: no such picture, though {beside} names it; run the stage that wrote it again")


def _check_scores(name: str, domain: SetScores, classes: list[str], scored: list[str]) -> None:
    """ValueError unless the scores follow from the confusion matrix beside them, up to rounding; scored: the classes of
    the protocol."""
    if not all(len(row) == len(domain.confusion) for row in domain.confusion):
        raise ValueError(f"domains.{name}.confusion is not square")
    expected = Scores(tuple(classes), np.array(domain.confusion, dtype=np.int64), tuple(scored)).to_json()
    given = {
        "mIoU": domain.mIoU,
        "fwIoU": domain.fwIoU,
        "pixel_accuracy": domain.pixel_accuracy,
        **{f"IoU.{key}": value for key, value in domain.IoU.items()},
    }
    expected |= {f"IoU.{key}": value for key, value in expected["IoU"].items()}
    for key, value in given.items():
        exact = expected[key]
        agree = value is exact is None or (value is not None and exact is not None and abs(value - exact) <= 0.06)
        if not agree:  # in this form NaN agrees with nothing
            raise ValueError(f"domains.{name}.{key} is {value}, but its confusion matrix gives {exact}")


def _curve(records: list[dict[str, object]], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(record["step"], record[name]) for record in records if _is_number(record.get(name))]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
