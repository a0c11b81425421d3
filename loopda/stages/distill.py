"""Stage `distill`: the self-trained model distilled into a self-supervised student (LoopDA, section 4.2; ProDA)."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Count, Fraction, NonNegative, Section, WholeNumber
from loopda.data.augmentation import each, strong
from loopda.data.dataset import Input
from loopda.labels.classes import IGNORE
from loopda.losses.segmentation import cross_entropy, distillation
from loopda.methods.method import supervision
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Segmenter, upsample
from loopda.runtime import distributed
from loopda.runtime.command import command, records
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.stage import TrainingStage


class Config(Section):
    """The section `distill`, with `input` and `compute`."""

    input: Input
    compute: Compute
    steps: Count
    batch_size: Count
    threshold: Annotated[float, Field(ge=0, lt=1)]
    aux: NonNegative
    kl: NonNegative
    kl_masked: bool
    mirror: bool
    augmentation: Fraction
    warmup_steps: WholeNumber
    optimizer: SegmenterOptimizer


@records("model")
def run(
    *,
    config: Config,
    teacher: Path,
    student: Path,
    source: Path,
    night: Path,
    classes: Path,
    model: Path,
    metrics: Path,
    log: Path,
    seed: int,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Train `student` (from `simclr`) on labelled day, and at night by `teacher` (from `self_train`)."""
    stage = TrainingStage("distill", config, model=model, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes)

    teacher_network = load_segmenter(teacher).to(stage.device).requires_grad_(False)
    teacher_network.use_statistics("night")
    segmenter = load_segmenter(student).to(stage.device).train()
    optimizer = segmenter_optimizer(segmenter, config.optimizer)
    training = stage.training(
        parts={"network": segmenter.network, "optimizer": optimizer},
        inputs={"teacher": teacher, "student": student},
        images=2 * config.batch_size,
    )
    augment = strong(config.augmentation)

    for step, (day_batch, night_batch) in training.over(stage.batches()):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power, warmup=config.warmup_steps)
        set_learning_rate(optimizer, factor)

        # source supervision
        seg_d = supervision(segmenter(day_batch.images, aux=config.aux > 0), day_batch.labels, config.aux)

        # teacher: soft and hard labels of the night
        size = night_batch.images.shape[2:]
        soft_labels = log_probabilities(teacher_network, night_batch.images, size, mirror=config.mirror)
        confidence, hard_labels = soft_labels.softmax(dim=1).max(dim=1)
        hard_labels = torch.where(confidence > config.threshold, hard_labels, IGNORE)

        # student: cross-entropy with the hard and KL divergence from the soft labels, on augmented images
        outputs = segmenter(each(augment, night_batch.images), aux=False)
        logits = upsample(outputs.logits, size, outputs.aligned)
        seg_n = cross_entropy(logits=logits, labels=hard_labels)
        mask = hard_labels if config.kl_masked else torch.zeros_like(hard_labels)
        kl_n = distillation(student=logits, teacher=soft_labels, labels=mask)

        # update
        training.descend(seg_d + seg_n + config.kl * kl_n, optimizer)

        # log
        confident = distributed.mean((hard_labels != IGNORE).float().sum(), hard_labels.numel())
        training.record(seg_d=seg_d, seg_n=seg_n, kl_n=kl_n, confident=confident)

    stage.finish(training, segmenter, metrics)


@torch.no_grad()
def log_probabilities(teacher: Segmenter, images: Tensor, size: tuple[int, int], *, mirror: bool) -> Tensor:
    """The teacher's log-probabilities (N, K, *size); with `mirror` of the mean over image and mirror image (ProDA)."""
    views = (images, images.flip(3)) if mirror else (images,)
    outputs = [teacher(view, aux=False) for view in views]
    probabilities = [upsample(output.logits, size, output.aligned).softmax(dim=1) for output in outputs]
    if mirror:
        probabilities[1] = probabilities[1].flip(3)
    return (sum(probabilities) / len(probabilities)).clamp(min=1e-8).log()


if __name__ == "__main__":
    command(run)
