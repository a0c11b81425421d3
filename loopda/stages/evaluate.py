"""Stage `evaluate`: scores of one model on the night and day validation sets, with its label maps."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from loopda.command import command
from loopda.config import Section
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.transforms import to_images
from loopda.evaluation.confusion import confusion_matrix
from loopda.evaluation.predict import predict
from loopda.evaluation.scores import Scores
from loopda.files import sha256, write_json
from loopda.labels.png import write_label
from loopda.models.segmenter import Segmenter, load_segmenter
from loopda.training.device import choose_device, use_threads
from loopda.training.log import Log


class Config(Section):
    """The section `evaluate`, with `input`."""

    input: Input
    batch_size: Annotated[int, Field(ge=1)]


def run(
    *,
    config: Config,
    model: Path,
    night_val: Path,
    day_val: Path,
    classes: Path,
    scores: Path,
    log: Path,
    seed: int,
    experiment: str,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Score `model` by LoopDA's protocol: one forward of the whole resized image, labels resized by nearest neighbour,
    one confusion matrix over the whole set. The file `scores` is named after the stage that made the model."""
    lines = Log(log, f"evaluate {scores.stem}")
    place = choose_device(device)
    use_threads(threads)
    segmenter = load_segmenter(model).to(place)
    domains = {}
    for domain, manifest in (("night", night_val), ("day", day_val)):
        frames = open_frames(manifest, classes, config.input.size, threads=threads)
        used = segmenter.use_statistics(domain)
        matrix, predictions = _predict_all(segmenter, frames, scores.with_suffix("") / domain, config.batch_size, place)
        result = Scores(frames.classes.names, matrix)
        width, height = config.input.size
        domains[domain] = {
            "protocol": {
                "images": len(frames),
                "width": width,
                "height": height,
                "upsampling": "bilinear with aligned corners, labels resized by nearest neighbour",
                "normalisation": f"{used} statistics",
                "absent": result.absent,
            },
            **result.to_json(),
            "predictions": predictions,
        }
        lines.say(f"{domain}: mIoU {result.mean_iou:.1f} on {len(frames)} images, {used} statistics")
    write_json(
        scores,
        {
            "model_stage": scores.stem,
            "experiment": experiment,
            "seed": seed,
            "model": str(model),
            "sha256": sha256(model),
            "parameters": sum(parameter.numel() for parameter in segmenter.network.parameters()),
            "classes": list(segmenter.classes.names),
            "colours": [list(colour) for colour in segmenter.classes.colours],
            "domains": domains,
        },
    )


def _predict_all(
    segmenter: Segmenter, frames: Frames, folder: Path, batch_size: int, device: object
) -> tuple[np.ndarray, list[dict[str, str]]]:
    count = len(frames.classes)
    matrix = np.zeros((count, count), dtype=np.int64)
    predictions = []
    for first in range(0, len(frames), batch_size):
        numbers = range(first, min(first + batch_size, len(frames)))
        images = to_images([frames.image(number) for number in numbers]).to(device)
        labels, _ = predict(segmenter, images, images.shape[2:])
        for number, label in zip(numbers, labels.cpu().numpy(), strict=True):
            truth = frames.label(number)
            matrix += confusion_matrix(label, truth, count)
            image = frames.rows[number].image
            name = f"{number:05d}_{image.stem}"
            paths = {"label": folder / f"{name}_truth.png", "prediction": folder / f"{name}.png"}
            write_label(paths["label"], truth, frames.classes)
            write_label(paths["prediction"], label, frames.classes)
            predictions.append({"image": str(image), **{key: str(path) for key, path in paths.items()}})
    return matrix, predictions


if __name__ == "__main__":
    command(run)
