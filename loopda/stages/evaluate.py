"""Stage `evaluate`: scores of a model, or an ensemble, on the night and day validation sets, with its label maps."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Count
from loopda.data.batches import whole_images
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.scoring import PRESENT, Chosen, Scoring, domain_of
from loopda.data.shapes import keeping_shape, squeezed
from loopda.errors import ConfigError, DataError
from loopda.evaluation.confusion import confusion_matrix
from loopda.evaluation.probabilities import class_logits, class_probabilities, mean_probabilities, most_likely
from loopda.evaluation.scores import Scores, present
from loopda.labels.class_files import load_classes
from loopda.labels.png import write_label
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import environment
from loopda.models.segmenter import OWN, Segmenter
from loopda.models.statistics import FAR, distances, far_from, statistics_of
from loopda.pipeline.experiments import BY_SET, FULL_SIZE
from loopda.pipeline.stages import MEASURED
from loopda.runtime import distributed, processes
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import sha256, write_json
from loopda.runtime.log import Log
from loopda.text.names import bounded

UPSAMPLED = {"probabilities": class_probabilities, "logits": class_logits}


class Config(Scoring):
    """The section `evaluate`, with `input`. Sets have the names of `MEASURED` and those of data.night_tests.

    upsampled: what is upsampled to the size of the labels before the argmax; logits in LoopDA's evaluation.
    full_size: the sets that are scored a second time, at the size of their label files and under their name +
    FULL_SIZE. The network's input stays the same.
    statistics: whose normalisation statistics a set is scored with: those of a training domain, by default night or
    day as the set is, or `own`, those of its images, without its labels (`statistics_of`). A model with shared
    statistics (`network.statistics`) has the same for night and day.
    other_statistics: whether a set is also scored with the alternative, without label maps: `own`, or where that is
    chosen, the domain's. `far`: where the set lies far from its domain's, or own is chosen; true: always; false: never.
    """

    input: Input
    batch_size: Count
    upsampled: Literal["probabilities", "logits"] = "probabilities"
    full_size: tuple[str, ...] = ()
    statistics: dict[str, Literal["night", "day", "own"]] = Field(default_factory=dict)
    other_statistics: bool | Literal["far"] = "far"


@writes("scores")
def run(
    *,
    config: Config,
    model: list[Path],
    night_val: Path | None = None,
    day_val: Path | None = None,
    night_test: Path | None = None,
    day_test: Path | None = None,
    night_tests: list[Path] | None = None,
    classes: Path,
    scores: Path,
    log: Path,
    seed: int,
    experiment: str,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Score `model` by LoopDA's protocol: one forward pass of the whole resized image, labels resized by nearest
    neighbour, one confusion matrix of the whole set. The file `scores` has the name of the model's stage. Several
    processes take turns with the batches.

    model: one checkpoint; for several, which must have the same classes, the mean of their probabilities is scored.
    night_tests: manifests of further night sets; each is scored under the name of its file. A set without a manifest
    is not measured and has no scores.
    """
    logger = Log(log, f"evaluate {scores.stem}")
    chosen_device = choose_device(device, several=True)
    use_threads(threads)
    given = {"night_val": night_val, "day_val": day_val, "night_test": night_test, "day_test": day_test}
    paths = {name: given[key] for name, key in MEASURED.items()} | {path.stem: path for path in night_tests or ()}
    manifests = {name: path for name, path in paths.items() if path is not None}
    _check(config, manifests, classes)
    for name in ("night", "day"):
        if name not in manifests:
            logger.say(f"{name}: not measured: there is no set {name}_val")
    segmenters = [segmenter.to(chosen_device) for segmenter in load_alike(model)]
    upsampled = config.upsampled if len(model) == 1 else f"{config.upsampled} of {len(model)} models"
    scored: dict[str, Any] = {}
    for name, manifest in manifests.items():
        domain = domain_of(name)
        size = config.size_of(name, config.input)
        frames = open_frames(manifest, classes, size, threads=threads)
        if note := squeezed(frames.rows, size):
            width, height = keeping_shape(frames.rows, size)
            logger.say(f"{name}: {note}; evaluate.sizes.{name}: [{width}, {height}] would keep their shape")

        # the statistics of the set itself, and those to score it with
        lying = estimate_own(segmenters, frames, chosen_device)
        chosen = config.statistics.get(name, domain)
        other = domain if chosen == OWN else OWN

        # predict, and compare with the labels at each size
        evaluators = evaluators_of(name, frames, config, scores.with_suffix(""))
        used = compare(segmenters, chosen, frames, evaluators, config, chosen_device)
        far = far_from(chosen, lying)
        wanted = config.other_statistics is True or (config.other_statistics and (chosen == OWN or bool(far)))
        others = evaluators_of(name, frames, config, None) if wanted else {}
        used_by_others = compare(segmenters, other, frames, others, config, chosen_device) if others else ""

        # score
        for set_name, evaluator in evaluators.items():
            values = evaluator.to_json(upsampled=upsampled, normalisation=f"{used} statistics")
            instead = {"used": used_by_others, **others[set_name].scores.to_json()} if others else None
            values["statistics"] = {"used": used, "distances": lying, "far": FAR, "other": instead}
            scored[set_name] = values
            beside = f" ({_shown(instead['mIoU'])} with {used_by_others} statistics)" if instead else ""
            logger.say(f"{set_name}: mIoU {_shown(values['mIoU'])} on {len(frames)} images, {used} statistics{beside}")
        if far:
            logger.say(f"{name}: {far}; evaluate.statistics.{name}: own would estimate them on the images of the set")
    if not processes.is_first():
        return
    write_json(
        scores,
        {
            "model_stage": scores.stem,
            "experiment": experiment,
            "seed": seed,
            "model": " + ".join(map(str, model)),
            "sha256": digest(model),
            **environment(chosen_device),
            "parameters": sum(value.numel() for segmenter in segmenters for value in segmenter.network.parameters()),
            "classes": list(segmenters[0].classes.names),
            "colours": [list(colour) for colour in segmenters[0].classes.colours],
            "domains": scored,
        },
    )


def evaluators_of(name: str, frames: Frames, config: Config, folder: Path | None) -> dict[str, "Evaluator"]:
    """The evaluator of a set, and that of its full size where it is wanted; without a folder, no label maps."""
    sizes = {name: False} | ({f"{name}{FULL_SIZE}": True} if name in config.full_size else {})
    chosen = config.classes.get(name, ())
    return {
        one: Evaluator(frames, folder / one if folder else None, full_size=full, chosen=chosen)
        for one, full in sizes.items()
    }


def estimate_own(segmenters: Iterable[Segmenter], frames: Frames, device: torch.device) -> dict[str, float]:
    """Give each segmenter the statistics OWN of these images; returns their `distances`, of several segmenters the
    largest."""
    found: dict[str, float] = {}
    for segmenter in segmenters:
        own = statistics_of(segmenter, frames, device)
        for name, value in distances(segmenter.statistics, own).items():
            found[name] = max(found.get(name, 0.0), value)
        segmenter.statistics[OWN] = own
    return found


def compare(
    segmenters: Sequence[Segmenter],
    statistics: str,
    frames: Frames,
    evaluators: Mapping[str, "Evaluator"],
    config: Config,
    device: torch.device,
) -> str:
    """Predict the images with these `statistics`, and compare each with its label; returns which were used."""
    used = dict.fromkeys(segmenter.use_statistics(statistics) for segmenter in segmenters)
    aligned = [segmenter.network.aligned for segmenter in segmenters]
    for numbers, images in whole_images(frames, config.batch_size, device):
        outputs = [UPSAMPLED[config.upsampled](segmenter, images) for segmenter in segmenters]
        for number, *frame_outputs in zip(numbers, *(output.split(1) for output in outputs), strict=True):
            for evaluator in evaluators.values():
                evaluator.add(number, frame_outputs, logits=config.upsampled == "logits", aligned=aligned)
    for evaluator in evaluators.values():
        evaluator.join()
    return " and ".join(used)


class Evaluator:
    """Compares the predictions for the set `frames` with its labels; the label maps go to `folder`, if there is one.

    The labels are resized to the size of the frames; with `full_size` they stay as they are in their files. chosen: the
    classes that are scored (`Scoring.classes`), empty for all.
    """

    def __init__(self, frames: Frames, folder: Path | None, *, full_size: bool = False, chosen: Chosen = ()):
        self.frames, self.folder, self.full_size, self.chosen = frames, folder, full_size, chosen
        self.confusion = np.zeros((len(frames.classes), len(frames.classes)), dtype=np.int64)
        self.sizes = np.zeros((len(frames), 2), dtype=np.int64)  # of the labels, width and height

    def add(self, number: int, outputs: Sequence[Tensor], *, logits: bool, aligned: Sequence[bool]) -> None:
        """Count the prediction for frame `number`, and write its label maps.

        outputs: of each model, logits or probabilities (1, K, h, w). aligned: each network's rule of upsampling.
        """
        truth = self.frames.label_of_file(number) if self.full_size else self.frames.label(number)
        if len(outputs) == 1:
            label = most_likely(outputs[0], truth.shape, aligned[0])[0]
        else:
            label = mean_probabilities(outputs, truth.shape, logits=logits, aligned=aligned).argmax(dim=1)
        label = label[0].to(torch.uint8).cpu().numpy()
        self.confusion += confusion_matrix(label, truth, len(self.frames.classes))
        self.sizes[number] = truth.shape[::-1]
        if self.folder:
            paths = self._paths(number)
            write_label(paths["label"], truth, self.frames.classes)
            write_label(paths["prediction"], label, self.frames.classes)

    def join(self) -> None:
        """Add the counts of all processes."""
        self.confusion, self.sizes = distributed.add_counts(self.confusion), distributed.add_counts(self.sizes)

    @property
    def scores(self) -> Scores:
        """The scores of the counted predictions."""
        names = self.frames.classes.names
        scored = present(names, self.confusion) if self.chosen == PRESENT else self.chosen
        return Scores(names, self.confusion, tuple(name for name in names if name in scored))

    def to_json(self, *, upsampled: str, normalisation: str) -> dict[str, Any]:
        """The protocol, the scores, and the paths of the label maps, as JSON values."""
        width, height = self.frames.size
        sizes = sorted({f"{across}x{down}" for across, down in self.sizes.tolist()})
        labels = "at the size of their files" if self.full_size else "resized by nearest neighbour"
        scores = self.scores
        return {
            "protocol": {
                "images": len(self.frames),
                "width": width,
                "height": height,
                "scored_at": sizes if self.full_size else [],
                "upsampling": f"{upsampled}, bilinear by the network's rule; labels {labels}",
                "normalisation": normalisation,
                "absent": scores.absent,
                "classes": list(scores.scored),
            },
            **scores.to_json(),
            "predictions": [
                {"image": str(row.image), **{key: str(path) for key, path in self._paths(number).items()}}
                for number, row in enumerate(self.frames.rows)
            ],
        }

    def _paths(self, number: int) -> dict[str, Path]:
        """The files of the label and of the prediction of frame `number`."""
        name = f"{number:05d}_{bounded(self.frames.rows[number].image.stem)}"
        return {"label": self.folder / f"{name}_truth.png", "prediction": self.folder / f"{name}.png"}


def _check(config: Config, manifests: Mapping[str, Path], classes: Path) -> None:
    """ConfigError where the section names a set or a class that is not there; how to score a set of `MEASURED` may be
    said where there is none, as in the trials of a search, which have no test sets."""
    known = f"the sets are {', '.join(manifests)}" if manifests else "there is none"
    for key in BY_SET:
        allowed = set() if key == "full_size" else set(MEASURED)
        if unknown := set(getattr(config, key)) - manifests.keys() - allowed:
            raise ConfigError(f"evaluate.{key}: no set {', '.join(sorted(unknown))}; {known}")
    config.check_classes(load_classes(classes))


def _shown(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.1f}"


def load_alike(models: Sequence[Path]) -> list[Segmenter]:
    """The networks of one or more checkpoints; DataError where there is none, or where their classes differ."""
    if not models:
        raise DataError("--model names no checkpoint; name one, or those of an ensemble")
    segmenters = [load_segmenter(path) for path in models]
    for path, segmenter in zip(models, segmenters, strict=True):
        if segmenter.classes.names != segmenters[0].classes.names:
            raise DataError(f"{path}: its classes are not those of {models[0]}; average models of the same classes")
    return segmenters


def digest(models: Sequence[Path]) -> str:
    """The SHA-256 of a checkpoint; of several, the SHA-256 of their concatenated digests."""
    digests = [sha256(path) for path in models]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


if __name__ == "__main__":
    command(run)
