"""Stage `pretrain`: supervised training of the segmentation network on labelled day images, the source-only model."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from loopda.config import Section
from loopda.data.dataset import Input
from loopda.exchange.backbone import new_segmenter
from loopda.methods.method import supervision
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Network
from loopda.randomness import seed_torch
from loopda.runtime.command import command, records
from loopda.training.job import Job
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.weights.downloads import locate


class Config(Section):
    """The section `pretrain`, with `input`, `compute` and `network`."""

    input: Input
    compute: Compute
    network: Network
    weights: str
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    aux: Annotated[float, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    optimizer: SegmenterOptimizer


@records("model")
def run(
    *,
    config: Config,
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
    """Train on the manifest `source`. The images of `night` only serve the statistics of normalisation, at the end."""
    job = Job("pretrain", config, model=model, log=log, seed=seed, device=device, threads=threads)
    job.open(source=source, night=night, classes=classes)

    backbone = locate(config.weights, job.log.say) if config.weights else None
    seed_torch(seed, "initial weights", 0)
    segmenter = new_segmenter(config.network, job.day.classes, backbone, say=job.log.say).to(job.device).train()
    optimizer = segmenter_optimizer(segmenter, config.optimizer)
    parts = {"segmenter": segmenter.network, "optimizer": optimizer}
    inputs = {"weights": backbone} if backbone else None
    training = job.training(parts=parts, inputs=inputs, images=config.batch_size)

    for step, day in training.over(job.day_batch):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power, warmup=config.warmup_steps)
        set_learning_rate(optimizer, factor)

        # source supervision
        loss = supervision(segmenter(day.images, aux=config.aux > 0), day.labels, config.aux)

        # update
        training.descend(loss, optimizer)

        # log
        training.record(seg_d=loss)

    job.finish(training, segmenter, metrics)


if __name__ == "__main__":
    command(run)
