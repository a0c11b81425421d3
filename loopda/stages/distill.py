"""Stage `distill`: the self-trained teacher teaches a self-supervised student at night (LoopDA, section 4.2; ProDA)."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Section
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
from loopda.training.job import Job
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate

Weight = Annotated[float, Field(ge=0)]


class Config(Section):
    """The section `distill`, with `input` and `compute`."""

    input: Input
    compute: Compute
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    threshold: Annotated[float, Field(ge=0, lt=1)]
    aux: Weight
    kl: Weight
    kl_masked: bool
    mirror: bool
    augmentation: Annotated[float, Field(ge=0, le=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
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
    """Train `student` (from `simclr`) on labelled day and on what `teacher` (from `self_train`) says of the night."""
    job = Job("distill", config, model=model, log=log, seed=seed, device=device, threads=threads)
    job.open(source=source, night=night, classes=classes)

    guide = load_segmenter(teacher).to(job.device).requires_grad_(False)
    guide.use_statistics("night")
    segmenter = load_segmenter(student).to(job.device).train()
    optimizer = segmenter_optimizer(segmenter, config.optimizer)
    training = job.training(
        parts={"network": segmenter.network, "optimizer": optimizer},
        inputs={"teacher": teacher, "student": student},
        images=2 * config.batch_size,
    )
    augment = strong(config.augmentation)

    for step, (day, dark) in training.over(job.batches()):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power, warmup=config.warmup_steps)
        set_learning_rate(optimizer, factor)

        # source supervision
        seg_d = supervision(segmenter(day.images, aux=config.aux > 0), day.labels, config.aux)

        # the teacher's hard and soft labels for the student's augmented view
        size = dark.images.shape[2:]
        soft = teach(guide, dark.images, size, mirror=config.mirror)
        confidence, hard = soft.softmax(dim=1).max(dim=1)
        hard = torch.where(confidence > config.threshold, hard, IGNORE)
        outputs = segmenter(each(augment, dark.images), aux=False)
        answer = upsample(outputs.logits, size, outputs.aligned)
        seg_n = cross_entropy(logits=answer, labels=hard)
        mask = hard if config.kl_masked else torch.zeros_like(hard)
        kl_n = distillation(student=answer, teacher=soft, labels=mask)

        # update
        training.descend(seg_d + seg_n + config.kl * kl_n, optimizer)

        # log
        confident = distributed.mean((hard != IGNORE).float().sum(), hard.numel())
        training.record(seg_d=seg_d, seg_n=seg_n, kl_n=kl_n, confident=confident)

    job.finish(training, segmenter, metrics)


@torch.no_grad()
def teach(teacher: Segmenter, images: Tensor, size: tuple[int, int], *, mirror: bool) -> Tensor:
    """Log-probabilities (N, K, *size) of the teacher; with `mirror` averaged over image and mirror image (ProDA)."""
    views = (images, images.flip(3)) if mirror else (images,)
    outputs = [teacher(view, aux=False) for view in views]
    soft = [upsample(output.logits, size, output.aligned).softmax(dim=1) for output in outputs]
    if mirror:
        soft[1] = soft[1].flip(3)
    return (sum(soft) / len(soft)).clamp(min=1e-8).log()


if __name__ == "__main__":
    command(run)
