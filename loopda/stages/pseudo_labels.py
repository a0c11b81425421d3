"""Stage `pseudo_labels`: offline labels of night images and day references, with a threshold for each class (BDL)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from loopda.config import Count, Fraction, Section
from loopda.data.batches import whole_images
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.manifest import Row
from loopda.data.pseudo_labels import (
    DIGEST_BYTES,
    ClassStatistics,
    PseudoLabel,
    write_label_table,
    write_statistics,
)
from loopda.evaluation.probabilities import predict
from loopda.labels.classes import IGNORE
from loopda.labels.png import write_label
from loopda.labels.thresholds import ConfidenceHistogram, counted_rows, keep_confident
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmenter import Segmenter
from loopda.runtime import distributed, processes
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import sha256
from loopda.runtime.log import Log
from loopda.runtime.progress import report_progress
from loopda.text.names import bounded

Share = Annotated[float, Field(ge=0, lt=0.5)]


class Config(Section):
    """The section `pseudo_labels`, with `input`.

    ignore_rows: shares of an image's height at its top and at its bottom. Their pixels get no label and count for no
    threshold.
    """

    input: Input
    portion: Fraction
    cap: Fraction
    batch_size: Count
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
    """Write a label map for every night image and every day reference, their table `labels` (CSV) and the `statistics`
    (JSON): threshold, predicted and kept pixels of each class, without those of ignored rows.

    Several processes take turns; the thresholds are those of all images.
    """
    logger = Log(log, "pseudo_labels")
    chosen_device = choose_device(device, several=True)
    use_threads(threads)
    frames = open_frames(night, classes, config.input.size, threads=threads)
    names = frames.classes.names
    domains = {"night": frames}
    if references := sorted({row.reference for row in frames.rows if row.reference}):
        domains["day"] = Frames([Row(path) for path in references], frames.classes, config.input.size, threads=threads)
    segmenter = load_segmenter(warmed_up).to(chosen_device)
    rows = counted_rows(config.input.size[1], config.ignore_rows)

    table: list[PseudoLabel] = []
    counts: dict[str, dict[str, ClassStatistics]] = {}
    for domain, images in domains.items():
        segmenter.use_statistics(domain)
        paths = [
            labels.parent / domain / f"{index:05d}_{bounded(row.image.stem)}.png"
            for index, row in enumerate(images.rows)
        ]

        # first pass: the threshold of each class, from the confidences of the whole set
        histogram = ConfidenceHistogram(len(names))
        for _, prediction, confidence in predictions(segmenter, images, config.batch_size, chosen_device):
            histogram.add(prediction[rows], confidence[rows])
        histogram.counts = distributed.add_counts(histogram.counts)
        thresholds = histogram.thresholds(portion=config.portion, cap=config.cap)

        # second pass: a pixel keeps its predicted class where the confidence reaches the threshold of that class
        kept = np.zeros(len(names), dtype=np.int64)
        digests = np.zeros((len(paths), DIGEST_BYTES), dtype=np.uint8)
        for index, prediction, confidence in predictions(segmenter, images, config.batch_size, chosen_device):
            label = np.full_like(prediction, IGNORE)
            label[rows] = keep_confident(prediction[rows], confidence[rows], thresholds)
            kept += np.bincount(label.ravel(), minlength=256)[: len(kept)]
            write_label(paths[index], label, frames.classes)
            digests[index] = list(bytes.fromhex(sha256(paths[index]))[:DIGEST_BYTES])
            report_progress(log, step=index + 1, steps=len(images))
            logger.progress(f"{domain} {index + 1}/{len(images)} label maps")
        kept, digests = distributed.add_counts(kept), distributed.add_counts(digests)

        # record
        table += [
            PseudoLabel(domain, row.image, path, bytes(digest.tolist()).hex())
            for row, path, digest in zip(images.rows, paths, digests, strict=True)
        ]
        predicted = histogram.predicted()
        counts[domain] = {
            name: ClassStatistics(*of_class)
            for name, *of_class in zip(names, thresholds.tolist(), predicted.tolist(), kept.tolist(), strict=True)
        }
        where = f" of the rows {rows.start} to {rows.stop - 1}" if any(config.ignore_rows) else ""
        logger.say(f"{domain}: {len(images)} label maps, {kept.sum() / predicted.sum():.1%} of the pixels{where} kept")
    if processes.is_first():
        write_statistics(statistics, counts)
        write_label_table(labels, table)


def predictions(
    segmenter: Segmenter, frames: Frames, batch_size: int, device: torch.device
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(index, label map uint8, confidence float32) of every frame that falls to this process."""
    for indices, images in whole_images(frames, batch_size, device):
        labels, confidences = predict(segmenter, images, images.shape[2:])
        yield from zip(indices, labels.cpu().numpy(), confidences.cpu().numpy(), strict=True)


if __name__ == "__main__":
    command(run)
