"""Stage `adapt`: the methods that LoopDA is compared with, all in this one loop, from the same source-only model."""

from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated

from pydantic import Field

from loopda.config import Section
from loopda.data.dataset import Input
from loopda.errors import ConfigError
from loopda.methods import adaptsegnet, advent, cycada, daformer, dann, road, source_only
from loopda.methods.method import Method
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.randomness import seed_torch
from loopda.runtime.command import command, records
from loopda.training.job import Job
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate

# a new method is a line here, a file in loopda/methods/ and a section in config.yaml (CONTRIBUTING.md)
METHODS: dict[type[Section], type[Method]] = {
    source_only.Settings: source_only.SourceOnly,
    adaptsegnet.Settings: adaptsegnet.AdaptSegNet,
    advent.Settings: advent.Advent,
    dann.Settings: dann.Dann,
    road.Settings: road.Road,
    cycada.Settings: cycada.Cycada,
    daformer.Settings: daformer.DAFormer,
}


class Config(Section):
    """The section `adapt`, with `input`, `compute` and, as `method`, the one of `methods` that it names.

    decay_steps: over which the learning rate falls; as many as `steps` at least.
    """

    input: Input
    compute: Compute
    method: Annotated[reduce(or_, METHODS), Field(discriminator="name")]
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
    decay_steps: Annotated[int, Field(ge=0)]
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
    """Go on from the source-only model `pretrained` by the method of `config`.

    translated: what the stage `translate` made of `source`, for a method that learns from it instead.
    """
    job = Job("adapt", config, model=model, log=log, seed=seed, device=device, threads=threads)
    job.open(source=source, night=night, classes=classes, translated=translated)

    segmenter = load_segmenter(pretrained).to(job.device).train()
    seed_torch(seed, config.method.name, 0)
    method = METHODS[type(config.method)](config.method, segmenter, job.labelled).to(job.device)
    check_source(method, translated)
    for note in method.notes:
        job.log.say(note)
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **method.optimizers()}
    training = job.training(
        parts={"network": segmenter.network, "method": method, **optimizers},
        inputs={"pretrained": pretrained, **method.files},
        images=2 * config.batch_size,
    )
    companions = [optimizers["companions"]] if "companions" in optimizers else []
    decay_steps = max(config.decay_steps, config.steps)

    for step, (day, dark) in training.over(job.batches(draw=method.draw)):
        # set learning rate
        factor = poly(step, steps=decay_steps, power=config.optimizer.power, warmup=config.warmup_steps)
        factors = method.factors(step, config.steps)
        for name, optimizer in optimizers.items():
            set_learning_rate(optimizer, factors.get(name, factor))

        # source supervision and what the method adds
        losses = method.losses(segmenter, day, dark, step, config.steps)

        # update: the network with the method's companions, then the adversaries
        if losses.segmenter is not None:
            training.descend(losses.segmenter, optimizers[losses.learner], *companions)
        if losses.adversaries is not None:
            training.descend(losses.adversaries, optimizers["adversaries"])

        # log
        training.record(**losses.terms)

    job.finish(training, segmenter, metrics)


def check_source(method: Method, translated: Path | None) -> None:
    """ConfigError where the method reads translated images and there are none, or the reverse."""
    name = method.settings.name
    if method.reads_translations and translated is None:
        raise ConfigError(f"methods.{name}: it reads what `translate` makes; name its source.csv by --translated")
    if translated is not None and not method.reads_translations:
        raise ConfigError(f"methods.{name}: it reads no translated images; leave out --translated {translated}")


if __name__ == "__main__":
    command(run)
