"""Stage `warmup`: LoopDA's inner and outer self-loops on labelled day, night and day reference (section 3.1)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Input
from loopda.methods.loopda import SIDE, Loops, LoopSettings, images_of, save_loops
from loopda.methods.method import Terms
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Segmenter
from loopda.randomness import seed_torch
from loopda.runtime.command import command, records
from loopda.training.job import Job
from loopda.training.loop import Training
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate


class Config(Section):
    """The section `warmup`, with `input`, `compute` and `loops`."""

    input: Input
    compute: Compute
    loops: LoopSettings
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    decoder_warmup: Annotated[int, Field(ge=0)]
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
    loops: Path,
    metrics: Path,
    log: Path,
    seed: int,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Go on from the source-only model `pretrained`; write the adapted `model`, and the decoders and discriminators."""
    job = Job("warmup", config, model=model, log=log, seed=seed, device=device, threads=threads)
    job.open(source=source, night=night, classes=classes)
    if job.referenced == 0:
        job.log.say("no night image has a day reference: inner_ud and the reference's adversarial term are left out")

    segmenter = load_segmenter(pretrained).to(job.device).train()
    seed_torch(seed, "decoders", 0)
    nets = Loops(config.loops, segmenter).to(job.device)
    nets.separate_passes = config.compute.memory == "least"
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **nets.optimizers()}
    training = job.training(
        parts={"network": segmenter.network, "loops": nets, **optimizers},
        inputs={"pretrained": pretrained},
        images=(3 if job.referenced else 2) * config.batch_size,
    )

    train(config, segmenter, nets, optimizers, training, job.batches())
    save_loops(nets, loops, **job.provenance)
    job.finish(training, segmenter, metrics)


def train(
    config: Config,
    segmenter: Segmenter,
    nets: Loops,
    optimizers: Mapping[str, Optimizer],
    training: Training,
    batches: Callable[[int], tuple[DayBatch, NightBatch]],
) -> None:
    """The steps of the warm-up. batches: from a step to its labelled batch and its batch of pairs."""
    for step, (day, pairs) in training.over(batches):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power)
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, factor)
        nets.decoders_alone = step <= config.decoder_warmup and (config.loops.inner_loop or config.loops.outer_loop)

        images = images_of(day, pairs)
        encoded = {k: x for k, x in images.items() if k == "d" or nets.uses(k)}
        losses: Terms = {}
        with training.descent(optimizers["segmenter"], optimizers["decoders"]) as learn:
            for x in nets.passes(encoded):
                # encode, decode, encode the translations, decode (equations 1, 2 and 4 to 6)
                looped = nets(segmenter, x, day.labels)
                terms = looped.terms

                # alignment: the discriminators step first, then the translations should pass for real (3 and 7)
                for name in looped.translations:
                    loss = nets.discriminator_loss(name, looped.translations[name], images)
                    training.descend(loss, optimizers["discriminators"])
                    losses[f"discriminator_{SIDE[name]}"] = loss.detach()
                    terms[f"adv_{name}"] = nets.adversarial_loss(name, looped.translations[name])

                # update, after the last pass
                learn(nets.total(terms))
                losses |= {name: term.detach() for name, term in terms.items()}
                del looped, terms  # the next forward pass needs their memory

        # record
        training.record(**losses)


if __name__ == "__main__":
    command(run)
