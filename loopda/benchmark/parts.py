"""What stages do besides their iterations, each beside the usual way of doing it, in one run and on one core."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loopda.benchmark.cases import FAST, Case
from loopda.benchmark.measure import Clock, milliseconds
from loopda.evaluation.confusion import confusion_matrix
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.thresholds import ConfidenceHistogram
from loopda.training.loop import ANCHORS, SAVE_SECONDS
from loopda.training.state import save_state

EVALUATED, LABELLED = (1080, 1920), (540, 960)  # height and width of a label of Dark Zurich, and of R's network
IMAGES = 2416  # nights of Dark Zurich's training set
CLASSES = len(CITYSCAPES)
CPU = torch.device("cpu")


def measured_parts(*, repeats: int, clock: Clock) -> list[dict[str, Any]]:
    """The figures of each part: milliseconds an image (of a save: each), of the usual way too, and bytes kept."""
    return [*_of_labels(repeats, clock), _of_saving(repeats, clock)]


def masked_matrix(prediction: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """The usual way to what `confusion_matrix` counts: the valid pixels are copied out first."""
    valid = (label >= 0) & (label < classes)
    pairs = classes * label[valid].astype(int) + prediction[valid]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def part_line(result: dict[str, Any]) -> str:
    """A row for people."""
    usual = f"{result['usual_milliseconds']:.1f} ms the usual way" if "usual_milliseconds" in result else ""
    kept = [f"{result[key] / 1e6:.0f} MB {words}" for key, words in _KEPT.items() if key in result]
    share = [f"{result['share_of_training']:.2%} of training"] if "share_of_training" in result else []
    return ", ".join(filter(None, [f"{result['part']}: {result['milliseconds']:.1f} ms", usual, *kept, *share]))


_KEPT = {"bytes": "kept", "usual_bytes": "the usual way"}


def _of_labels(repeats: int, clock: Clock) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES + 1, EVALUATED, dtype=np.uint8)
    truth[truth == CLASSES] = IGNORE
    answer = rng.integers(0, CLASSES, EVALUATED, dtype=np.uint8)
    label, confidence = answer[: LABELLED[0], : LABELLED[1]], rng.random(LABELLED, dtype=np.float32)
    histogram, kept = ConfidenceHistogram(CLASSES), []

    def sorted_apart() -> None:
        kept[:] = [np.sort(confidence[label == number]) for number in range(CLASSES)]

    ways: dict[str, Callable[[], object]] = {
        "matrix": lambda: confusion_matrix(answer, truth, CLASSES),
        "masked": lambda: masked_matrix(answer, truth, CLASSES),
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
    """A save of the town's warm-up, and what share of the training all of them take at the default interval."""
    case = Case("town", "warmup", FAST, CPU)
    parts = {"segmenter": case.segmenter, "loops": case.nets, **case.optimizers}
    with tempfile.TemporaryDirectory() as folder:
        ways = {"step": case.step, "save": lambda: save_state(Path(folder), 1, parts, "benchmark")}
        step, save = (float(np.median(taken)) for taken in _times(ways, repeats, clock).values())
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    saves = case.config.steps * step / 1000 / SAVE_SECONDS + ANCHORS
    share = saves * save / (case.config.steps * step)
    return {"part": "saving the town's warm-up", "milliseconds": save, "bytes": size, "share_of_training": share}


def _times(ways: dict[str, Callable[[], object]], repeats: int, clock: Clock) -> dict[str, list[float]]:
    return milliseconds(ways, repeats=repeats, device=CPU, clock=clock)
