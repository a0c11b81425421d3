"""Stage `pretrain`: supervised training of the segmentation network on labelled day images, the source-only model."""

from pathlib import Path

from loopda.config import Count, Fraction, NonNegative, Section, WholeNumber
from loopda.data.augmentation import each, photometric
from loopda.data.dataset import Input
from loopda.exchange.backbone import new_segmenter
from loopda.methods.method import supervision
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Network
from loopda.randomness import seed_torch
from loopda.runtime.command import command, records
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.stage import TrainingStage
from loopda.weights.downloads import locate


class Config(Section):
    """The section `pretrain`, with `input`, `compute` and `network`. colour, blur: as in `photometric`."""

    input: Input
    compute: Compute
    network: Network
    weights: str
    steps: Count
    batch_size: Count
    aux: NonNegative
    colour: Fraction
    blur: Fraction
    warmup_steps: WholeNumber
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
    """Train on the manifest `source`. `night` serves the normalisation statistics at the end, and nothing else."""
    stage = TrainingStage("pretrain", config, model=model, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes)

    backbone = locate(config.weights, stage.log.say) if config.weights else None
    seed_torch(seed, "initial weights", 0)
    segmenter = new_segmenter(config.network, stage.day.classes, backbone, say=stage.log.say).to(stage.device).train()
    optimizer = segmenter_optimizer(segmenter, config.optimizer)
    parts = {"segmenter": segmenter.network, "optimizer": optimizer}
    inputs = {"weights": backbone} if backbone else None
    training = stage.training(parts=parts, inputs=inputs, images=config.batch_size)

    augment = photometric(config.colour, config.blur)

    for step, batch in training.over(stage.day_batch):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power, warmup=config.warmup_steps)
        set_learning_rate(optimizer, factor)

        # source supervision (equation 1)
        images = each(augment, batch.images) if config.colour or config.blur else batch.images
        loss = supervision(segmenter(images, aux=config.aux > 0), batch.labels, config.aux)

        # update
        training.descend(loss, optimizer)

        # log
        training.record(seg_d=loss)

    stage.finish(training, segmenter, metrics)


if __name__ == "__main__":
    command(run)
