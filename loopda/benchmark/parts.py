"""The cost of what stages do outside their iterations, each part beside the usual way, in one run on one core."""

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from loopda.benchmark.cases import Case, OneStep
from loopda.benchmark.measure import Clock, milliseconds, ratio
from loopda.benchmark.variants import FAST
from loopda.evaluation.confusion import confusion_matrix
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.thresholds import ConfidenceHistogram
from loopda.runtime.log import Log
from loopda.training import loop
from loopda.training.state import save_state

EVALUATED, LABELLED = (1080, 1920), (540, 960)  # height and width of labels of Dark Zurich, and of pseudo-labels
IMAGES = 2416  # nights of Dark Zurich's training set
CLASSES = len(CITYSCAPES)
CPU = torch.device("cpu")

# the words of a printed line for the figures of a part
_KEPT = {"bytes": "kept", "usual_bytes": "the usual way"}
_RATIOS = {"times_usual": "ratio", "times_usual_itself": "of the usual way to itself"}


class NextStep(OneStep):
    """The next step of a training; the step before ends when this one begins."""

    def __init__(self, training: loop.Training, steps: Iterator[tuple[int, Any]]):
        self.descent, self.descend, self.record = training.descent, training.descend, training.record
        self.steps = steps

    def over(self, make: object) -> Iterator[tuple[int, Any]]:
        """The next step of the training, with its own batch."""
        yield next(self.steps)


def measured_parts(*, repeats: int, clock: Clock) -> list[dict[str, Any]]:
    """The figures of each part: milliseconds per image, save or step, those of the usual way, and the bytes kept."""
    return [*_of_labels(repeats, clock), _of_saving(repeats, clock), _of_resuming(repeats, clock)]


def masked_matrix(prediction: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """The usual computation of `confusion_matrix`, which first copies the valid pixels."""
    valid = (label >= 0) & (label < classes)
    pairs = classes * label[valid].astype(int) + prediction[valid]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def part_line(result: dict[str, Any]) -> str:
    """A line of the printed table."""
    usual = f"{result['usual_milliseconds']:.1f} ms the usual way" if "usual_milliseconds" in result else ""
    kept = [f"{result[key] / 1e6:.0f} MB {words}" for key, words in _KEPT.items() if key in result]
    share = [f"{result['share_of_training']:.2%} of training"] if "share_of_training" in result else []
    ratios = [f"{words} {result[key]:.3f}" for key, words in _RATIOS.items() if key in result]
    own = f"{result['part']}: {result['milliseconds']:.1f} ms"
    return ", ".join(filter(None, [own, usual, *ratios, *kept, *share]))


def _of_labels(repeats: int, clock: Clock) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES + 1, EVALUATED, dtype=np.uint8)
    truth[truth == CLASSES] = IGNORE
    prediction = rng.integers(0, CLASSES, EVALUATED, dtype=np.uint8)
    label, confidence = prediction[: LABELLED[0], : LABELLED[1]], rng.random(LABELLED, dtype=np.float32)
    histogram, kept = ConfidenceHistogram(CLASSES), []

    def sorted_apart() -> None:
        kept[:] = [np.sort(confidence[label == number]) for number in range(CLASSES)]

    ways: dict[str, Callable[[], object]] = {
        "matrix": lambda: confusion_matrix(prediction, truth, CLASSES),
        "masked": lambda: masked_matrix(prediction, truth, CLASSES),
        "histogram": lambda: histogram.add(label, confidence),
        "sorted": sorted_apart,
    }
    times = {name: float(np.median(taken)) for name, taken in _times(ways, repeats, clock).items()}
    return [
        {
            "part": f"confusion matrix of {EVALUATED[1]}x{EVALUATED[0]}",
            "milliseconds": times["matrix"],
            "usual_milliseconds": times["masked"],
        },
        {
            "part": f"offline thresholds, an image of {LABELLED[1]}x{LABELLED[0]}, and of {IMAGES} images",
            "milliseconds": times["histogram"],
            "usual_milliseconds": times["sorted"],
            "bytes": histogram.counts.nbytes,
            "usual_bytes": IMAGES * 2 * confidence.nbytes,  # nights and their references
        },
    ]


def _of_saving(repeats: int, clock: Clock) -> dict[str, Any]:
    """A save of the town's warm-up, and the share of the training that all saves take at the default interval."""
    case = Case("town", "warmup", FAST, CPU)
    parts = {"segmenter": case.segmenter, "loops": case.nets, **case.optimizers}
    with tempfile.TemporaryDirectory() as folder:
        ways = {"step": case.step, "save": lambda: save_state(Path(folder), 1, parts, "benchmark")}
        step, save = (float(np.median(taken)) for taken in _times(ways, repeats, clock).values())
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    saves = case.config.steps * step / 1000 / loop.SAVE_SECONDS + loop.ANCHORS
    share = saves * save / (case.config.steps * step)
    return {"part": "saving the town's warm-up", "milliseconds": save, "bytes": size, "share_of_training": share}


def _of_resuming(repeats: int, clock: Clock) -> dict[str, Any]:
    """A step of the town's warm-up in `Training.over`, which can be resumed exactly, and in a bare loop.

    Each has its own networks with the same weights, and the same batches. `Training.over` seeds, guards and records
    every step, and here writes a line of metrics after every step instead of every 20th. Saves come at their usual
    times, in so few turns that the median leaves them out (`_of_saving` has their share). A second bare loop shows the
    difference of equal loops on this machine.
    """
    bare, second, case = (Case("town", "warmup", FAST, CPU) for _ in range(3))
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stderr(io.StringIO()),
        patch.object(loop, "RECORD_STEPS", 1),
    ):
        training = loop.Training(
            stage="warmup",
            steps=case.config.steps,
            parts={"network": case.segmenter.network, "loops": case.nets, **case.optimizers},
            state=Path(folder) / "state",
            fingerprint="benchmark",
            seed=0,
            images=case.images,
            device=CPU,
            log=Log(Path(folder) / "warmup.log", "warmup"),
            compute=case.config.compute,
        )
        with closing(training.over(lambda step: (bare.day, bare.pairs))) as steps:
            next_step = NextStep(training, steps)

            def resumable() -> None:
                case.train(next_step)

            times = _times({"inside": resumable, "bare": bare.step, "second": second.step}, repeats, clock)
    return {
        "part": "a step of the town's warm-up with all that exact resume needs, beside a bare loop",
        "milliseconds": float(np.median(times["inside"])),
        "usual_milliseconds": float(np.median(times["bare"])),
        "times_usual": ratio(times["inside"], times["bare"]),
        "times_usual_itself": ratio(times["second"], times["bare"]),
        "turns": times,
    }


def _times(ways: dict[str, Callable[[], object]], repeats: int, clock: Clock) -> dict[str, list[float]]:
    return milliseconds(ways, repeats=repeats, device=CPU, clock=clock)
