"""Stage `pseudo_labels`: offline labels of night images and day references, with a threshold for each class (BDL)."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from loopda.config import Section
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.manifest import Row
from loopda.data.transforms import to_images
from loopda.evaluation.probabilities import predict
from loopda.labels.classes import IGNORE
from loopda.labels.png import write_label
from loopda.labels.thresholds import ConfidenceHistogram, counted_rows, keep_confident
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmenter import Segmenter
from loopda.runtime import distributed, processes
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import sha256, write_json, write_text
from loopda.runtime.log import Log
from loopda.runtime.progress import report_progress
from loopda.runtime.signals import interruptible
from loopda.text.names import bounded

CONTENT = 8  # bytes of a label map's SHA-256 in the manifest

Share = Annotated[float, Field(ge=0, lt=0.5)]


class Config(Section):
    """The section `pseudo_labels`, with `input`.

    ignore_rows: shares of an image's height, at its top and at its bottom, whose pixels get no label and count for no
    threshold.
    """

    input: Input
    portion: Annotated[float, Field(ge=0, le=1)]
    cap: Annotated[float, Field(ge=0, le=1)]
    batch_size: Annotated[int, Field(ge=1)]
    ignore_rows: tuple[Share, Share] = (0.0, 0.0)


@writes("labels")
def run(
    *,
    config: Config,
    warmed_up: Path,
    night: Path,
    classes: Path,
    labels: Path,
    statistics: Path,
    log: Path,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Write a label map for every night image and every day reference, their manifest `labels` (CSV with the columns
    domain, image, label) and the `statistics` (JSON: threshold, predicted and kept pixels for each class, without those
    of ignored rows).

    Several processes take turns; the thresholds are those of all images."""
    lines = Log(log, "pseudo_labels")
    place = choose_device(device, several=True)
    use_threads(threads)
    frames = open_frames(night, classes, config.input.size, threads=threads)
    segmenter = load_segmenter(warmed_up).to(place)
    references = sorted({row.reference for row in frames.rows if row.reference})
    domains = {"night": frames}
    if references:
        domains["day"] = Frames([Row(path) for path in references], frames.classes, config.input.size, threads=threads)

    rows = counted_rows(config.input.size[1], config.ignore_rows)
    index, summary = [], {}
    for domain, images in domains.items():
        segmenter.use_statistics(domain)
        # first pass: thresholds of the whole set, in constant memory
        histogram = ConfidenceHistogram(len(frames.classes))
        for _, prediction, confidence in predictions(segmenter, images, config.batch_size, place):
            histogram.add(prediction[rows], confidence[rows])
        histogram.counts = distributed.add_counts(histogram.counts)
        thresholds = histogram.thresholds(portion=config.portion, cap=config.cap)

        # second pass: the label maps
        kept = np.zeros(len(frames.classes), dtype=np.int64)
        paths = [
            labels.parent / domain / f"{at:05d}_{bounded(row.image.stem)}.png" for at, row in enumerate(images.rows)
        ]
        contents = np.zeros((len(paths), CONTENT), dtype=np.uint8)
        for number, prediction, confidence in predictions(segmenter, images, config.batch_size, place):
            label = np.full_like(prediction, IGNORE)
            label[rows] = keep_confident(prediction[rows], confidence[rows], thresholds)
            kept += np.bincount(label.ravel(), minlength=256)[: len(kept)]
            write_label(paths[number], label, frames.classes)
            contents[number] = list(bytes.fromhex(sha256(paths[number]))[:CONTENT])
            report_progress(log, step=number + 1, steps=len(images))
            lines.progress(f"{domain} {number + 1}/{len(images)} label maps")
        kept, contents = distributed.add_counts(kept), distributed.add_counts(contents)
        index += [
            (domain, row.image, path, bytes(content.tolist()).hex())
            for row, path, content in zip(images.rows, paths, contents, strict=True)
        ]
        summary[domain] = {
            name: {"threshold": float(threshold), "predicted": int(predicted), "kept": int(count)}
            for name, threshold, predicted, count in zip(
                frames.classes.names, thresholds, histogram.predicted(), kept, strict=True
            )
        }
        share = kept.sum() / histogram.predicted().sum()
        where = f" of the rows {rows.start} to {rows.stop - 1}" if any(config.ignore_rows) else ""
        lines.say(f"{domain}: {len(images)} label maps, {share:.1%} of the pixels{where} kept")
    if processes.is_first():
        write_json(statistics, summary)
        write_text(labels, _as_csv(index))


def predictions(
    segmenter: Segmenter, frames: Frames, batch_size: int, device: torch.device
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(index, label map uint8, confidence float32) of every frame that is this process's."""
    for first in interruptible(distributed.round_robin(range(0, len(frames), batch_size))):
        numbers = range(first, min(first + batch_size, len(frames)))
        images = to_images([frames.image(number) for number in numbers]).to(device)
        labels, confidences = predict(segmenter, images, images.shape[2:])
        yield from zip(numbers, labels.cpu().numpy(), confidences.cpu().numpy(), strict=True)


def _as_csv(rows: list[tuple[str, Path, Path, str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("domain", "image", "label", "content"))
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    command(run)
