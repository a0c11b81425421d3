"""Stage `adapt`: the methods that LoopDA is compared with, all in this loop and from the same source-only model."""

from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated

from pydantic import Field

from loopda.config import Count, Section, WholeNumber
from loopda.data.dataset import Input
from loopda.errors import ConfigError
from loopda.methods.adaptsegnet import AdaptSegNet, AdaptSegNetSettings
from loopda.methods.advent import Advent, AdventSettings
from loopda.methods.cycada import Cycada, CycadaSettings
from loopda.methods.daformer import DAFormer, DAFormerSettings
from loopda.methods.dann import Dann, DannSettings
from loopda.methods.method import Method
from loopda.methods.road import Road, RoadSettings
from loopda.methods.source_only import SourceOnly, SourceOnlySettings
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.randomness import seed_torch
from loopda.runtime.command import command, records
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.stage import TrainingStage

# a new method is a line here, a file in loopda/methods/ and a section in config.yaml (CONTRIBUTING.md)
METHODS: dict[type[Section], type[Method]] = {
    SourceOnlySettings: SourceOnly,
    AdaptSegNetSettings: AdaptSegNet,
    AdventSettings: Advent,
    DannSettings: Dann,
    RoadSettings: Road,
    CycadaSettings: Cycada,
    DAFormerSettings: DAFormer,
}


class Config(Section):
    """The section `adapt`, with `input`, `compute` and, as `method`, its section of `methods`.

    decay_steps: the steps over which the learning rate falls; at least `steps`.
    """

    input: Input
    compute: Compute
    method: Annotated[reduce(or_, METHODS), Field(discriminator="name")]
    steps: Count
    batch_size: Count
    warmup_steps: WholeNumber
    decay_steps: WholeNumber
    optimizer: SegmenterOptimizer


@records("model")
def run(
    *,
    config: Config,
    pretrained: Path,
    source: Path,
    night: Path,
    classes: Path,
    model: Path,
    metrics: Path,
    log: Path,
    seed: int,
    translated: Path | None = None,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Adapt the source-only model `pretrained` by the method of `config`.

    translated: the manifest of the translated `source` by the stage `translate`, for a method that trains on it.
    """
    stage = TrainingStage("adapt", config, model=model, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes, translated=translated)

    segmenter = load_segmenter(pretrained).to(stage.device).train()
    seed_torch(seed, config.method.name, 0)
    method = METHODS[type(config.method)](config.method, segmenter, stage.labelled).to(stage.device)
    check_source(method, translated)
    for note in method.notes:
        stage.log.say(note)
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **method.optimizers()}
    training = stage.training(
        parts={"network": segmenter.network, "method": method, **optimizers},
        inputs={"pretrained": pretrained, **method.files},
        images=2 * config.batch_size,
    )
    joint = [optimizers["joint"]] if "joint" in optimizers else []
    decay_steps = max(config.decay_steps, config.steps)

    for step, (day_batch, night_batch) in training.over(stage.batches(draw=method.draw)):
        # set learning rate
        factor = poly(step, steps=decay_steps, power=config.optimizer.power, warmup=config.warmup_steps)
        factors = method.factors(step, config.steps)
        for name, optimizer in optimizers.items():
            set_learning_rate(optimizer, factors.get(name, factor))

        # source supervision and the losses of the method
        losses = method.losses(segmenter, day_batch, night_batch, step, config.steps)

        # update: the segmentation network, jointly with networks of the method; then the discriminators
        if losses.segmenter is not None:
            training.descend(losses.segmenter, optimizers[losses.optimizer], *joint)
        if losses.discriminators is not None:
            training.descend(losses.discriminators, optimizers["discriminators"])

        # log
        training.record(**losses.terms)

    stage.finish(training, segmenter, metrics)


def check_source(method: Method, translated: Path | None) -> None:
    """ConfigError where the method needs translated images and there are none, or the reverse."""
    name = method.settings.name
    if method.reads_translations and translated is None:
        raise ConfigError(f"methods.{name}: it reads what `translate` makes; name its source.csv by --translated")
    if translated is not None and not method.reads_translations:
        raise ConfigError(f"methods.{name}: it reads no translated images; leave out --translated {translated}")


if __name__ == "__main__":
    command(run)
