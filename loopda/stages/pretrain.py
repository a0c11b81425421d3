"""Stage `pretrain`: supervised training of the segmentation network on labelled day images, the source-only model."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from loopda.command import command
from loopda.config import Section
from loopda.data.batches import DayBatch, day_batch
from loopda.data.dataset import Input, open_frames
from loopda.methods.loopda import supervision
from loopda.models.segmenter import Network, Segmenter, save_segmenter
from loopda.randomness import seed_torch
from loopda.training.device import choose_device, use_threads
from loopda.training.log import Log
from loopda.training.loop import Training, fingerprint
from loopda.training.optimizer import SegmenterOptimizer, descend, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.statistics import set_statistics


class Config(Section):
    """The section `pretrain`, with `input` and `network`."""

    input: Input
    network: Network
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    aux: Annotated[float, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    optimizer: SegmenterOptimizer


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
    lines = Log(log, "pretrain")
    place = choose_device(device)
    use_threads(threads)
    day_frames = open_frames(source, classes, config.input.size, threads=threads)

    seed_torch(seed, "initial weights", 0)
    segmenter = Segmenter(config.network, day_frames.classes).to(place).train()
    optimizer = segmenter_optimizer(segmenter, config.optimizer)
    training = Training(
        stage="pretrain",
        steps=config.steps,
        parts={"segmenter": segmenter.network, "optimizer": optimizer},
        state=model.parent / "state",
        fingerprint=fingerprint(config, {"source": source, "night": night, "classes": classes}, seed),
        seed=seed,
        images=config.batch_size,
        device=place,
        log=lines,
    )

    def batch(step: int) -> DayBatch:
        return day_batch(day_frames, step, batch_size=config.batch_size, crop=config.input.crop, seed=seed)

    for step, (images, labels) in training.over(batch):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power, warmup=config.warmup_steps)
        set_learning_rate(optimizer, factor)

        # source supervision
        loss = supervision(segmenter(images, aux=config.aux > 0), labels, config.aux)

        # update
        descend(loss, optimizer)

        # log
        training.record(seg_d=loss)

    night_frames = open_frames(night, classes, config.input.size, threads=threads)
    set_statistics(segmenter, day=day_frames, night=night_frames, device=place)
    save_segmenter(segmenter, model, stage="pretrain", seed=seed, config=config.model_dump(mode="json"))
    training.publish(metrics)


if __name__ == "__main__":
    command(run)
