"""Stage `warmup`: LoopDA's inner and outer self-loops on labelled day, night and day reference (section 3.1)."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch.optim import Optimizer

from loopda.config import Count, Section, WholeNumber
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Input
from loopda.methods.loopda import DOMAIN, Loops, LoopSettings, images_of, passes, save_loops
from loopda.methods.method import Terms
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Segmenter
from loopda.randomness import seed_torch
from loopda.runtime.command import command, records
from loopda.training.loop import Training
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.stage import TrainingStage


class Config(Section):
    """The section `warmup`, with `input`, `compute` and `loops`."""

    input: Input
    compute: Compute
    loops: LoopSettings
    steps: Count
    batch_size: Count
    decoder_warmup: WholeNumber
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
    """Warm up from the source-only model `pretrained`; `loops` takes the decoders and discriminators."""
    stage = TrainingStage("warmup", config, model=model, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes)
    if stage.referenced == 0:
        stage.log.say("no night image has a day reference: inner_ud and the reference's adversarial term are left out")

    segmenter = load_segmenter(pretrained).to(stage.device).train()
    seed_torch(seed, "decoders", 0)
    nets = Loops(config.loops, segmenter).to(stage.device)
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **nets.optimizers()}
    training = stage.training(
        parts={"network": segmenter.network, "loops": nets, **optimizers},
        inputs={"pretrained": pretrained},
        images=(3 if stage.referenced else 2) * config.batch_size,
    )

    train(config, segmenter, nets, optimizers, training, stage.batches())
    save_loops(nets, loops, **stage.provenance)
    stage.finish(training, segmenter, metrics)


def train(
    config: Config,
    segmenter: Segmenter,
    nets: Loops,
    optimizers: Mapping[str, Optimizer],
    training: Training,
    batches: Callable[[int], tuple[DayBatch, NightBatch]],
) -> None:
    """The steps of the warm-up. batches: from a step to its labelled day batch and its night batch.

    Images and terms go by symbol: d labelled day, n night, ud day reference; d2n and n2d are translations.
    """
    for step, (day, pairs) in training.over(batches):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power)
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, factor)

        # at first the decoders learn alone
        any_loop = config.loops.inner_loop or config.loops.outer_loop
        decoders_alone = any_loop and step <= config.decoder_warmup

        images = images_of(day, pairs)
        used = {k: x for k, x in images.items() if k == "d" or nets.uses(k)}
        losses: Terms = {}
        with training.descent(optimizers["segmenter"], optimizers["decoders"]) as backward:
            for x in passes(used, config.compute.memory):
                # inner and outer loops (Loops.forward): the terms seg_d, inner, percep, seg_d2n and outer, and the
                # translations (equations 1, 2 and 4 to 6)
                result = nets(segmenter, x, day.labels, decoders_alone=decoders_alone)
                terms = result.terms

                # alignment: discriminator step, then the adversarial loss of the translation (equations 3 and 7)
                for symbol in result.translations:
                    loss = nets.discriminator_loss(symbol, result.translations[symbol], images)
                    training.descend(loss, optimizers["discriminators"])
                    losses[f"discriminator_{DOMAIN[symbol]}"] = loss.detach()
                    terms[f"adv_{symbol}"] = nets.adversarial_loss(symbol, result.translations[symbol])

                # update: backward; the optimisers step after the last pass
                backward(nets.total(terms))
                losses |= {name: term.detach() for name, term in terms.items()}
                del result, terms  # the next forward pass needs their memory

        # log
        training.record(**losses)


if __name__ == "__main__":
    command(run)
