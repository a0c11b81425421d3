"""Stage `warmup`: LoopDA's inner and outer self-loops on labelled day, night and day reference (section 3.1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer

from loopda import distributed
from loopda.command import command, records
from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Input
from loopda.methods.loopda import Loops, LoopSettings, save_loops
from loopda.methods.method import Terms
from loopda.models.segmenter import Segmenter, load_segmenter
from loopda.randomness import seed_torch
from loopda.training.compute import Compute
from loopda.training.job import Job
from loopda.training.optimizer import Descent, SegmenterOptimizer, descent, segmenter_optimizer
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
    nets.one_by_one = config.compute.memory == "least"
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **nets.optimizers()}
    training = job.training(
        parts={"network": segmenter.network, "loops": nets, **optimizers},
        inputs={"pretrained": pretrained},
        images=(3 if job.referenced else 2) * config.batch_size,
    )

    for step, (day, pairs) in training.over(job.batches()):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power)
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, factor)
        nets.alone = step <= config.decoder_warmup and (config.loops.inner_loop or config.loops.outer_loop)

        # one step of all networks
        training.record(**iteration(segmenter, nets, optimizers, day, pairs, descent=training.descent))

    save_loops(nets, loops, **job.provenance)
    job.finish(training, segmenter, metrics)


def iteration(
    segmenter: Segmenter,
    nets: Loops,
    optimizers: Mapping[str, Optimizer],
    day: DayBatch,
    pairs: NightBatch,
    *,
    descent: Descent = descent,
) -> Terms:
    """One step of every network on a labelled batch and a batch of pairs; returns what the log shows."""
    # day reference: inner loop; labelled day: source supervision, inner and outer loop; night: inner and outer loop
    referenced = nets.settings.inner_loop and distributed.total(len(pairs.references))
    loops = [nets.reference(pairs.references)] if referenced else []
    loops += [nets.day(day), nets.night(pairs.images)]

    learnt: Terms = {}
    noted: Terms = {}
    with descent(optimizers["segmenter"], optimizers["decoders"]) as learn:
        for turn in nets.run(segmenter, *loops):
            terms: Terms = {}
            for looped in turn:
                terms |= looped.terms

                # adversarial alignment: the discriminator steps first, then judges the translation
                if looped.translation is not None:
                    told_apart = nets.discriminate(looped.translation, day.images, pairs.images, pairs.references)
                    with descent(optimizers["discriminators"]) as learn_to_tell:
                        learn_to_tell(told_apart)
                    noted[f"discriminator_{looped.translation.side}"] = told_apart.detach()
                    terms |= nets.alignment(looped.translation)

            # update, at the end of the turns
            if terms:
                learn(nets.total(terms))
            learnt |= {name: term.detach() for name, term in terms.items()}
    return learnt | noted


if __name__ == "__main__":
    command(run)
