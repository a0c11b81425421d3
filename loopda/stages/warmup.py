"""Stage `warmup`: LoopDA's inner and outer self-loops on labelled day, night and day reference (section 3.1)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from loopda.command import command
from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch, day_batch, night_batch
from loopda.data.dataset import Input, open_frames
from loopda.methods.loopda import Loops, LoopSettings, save_loops
from loopda.models.segmenter import load_segmenter, save_segmenter
from loopda.randomness import seed_torch
from loopda.training.device import choose_device, use_threads
from loopda.training.log import Log
from loopda.training.loop import Training, fingerprint
from loopda.training.optimizer import SegmenterOptimizer, descend, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.statistics import set_statistics


class Config(Section):
    """The section `warmup`, with `input` and `loops`."""

    input: Input
    loops: LoopSettings
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    decoder_warmup: Annotated[int, Field(ge=0)]
    optimizer: SegmenterOptimizer


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
    lines = Log(log, "warmup")
    place = choose_device(device)
    use_threads(threads)
    day_frames = open_frames(source, classes, config.input.size, threads=threads)
    night_frames = open_frames(night, classes, config.input.size, threads=threads)
    referenced = sum(bool(row.reference) for row in night_frames.rows)
    if referenced == 0:
        lines.say("no night image has a day reference: inner_ud and the reference's adversarial term are left out")

    segmenter = load_segmenter(pretrained).to(place).train()
    seed_torch(seed, "decoders", 0)
    nets = Loops(config.loops, segmenter).to(place)
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **nets.optimizers()}
    inputs = {"pretrained": pretrained, "source": source, "night": night, "classes": classes}
    training = Training(
        stage="warmup",
        steps=config.steps,
        parts={"network": segmenter.network, "loops": nets, **optimizers},
        state=model.parent / "state",
        fingerprint=fingerprint(config, inputs, seed),
        seed=seed,
        images=(3 if referenced else 2) * config.batch_size,
        device=place,
        log=lines,
    )
    sampling = {"batch_size": config.batch_size, "crop": config.input.crop, "seed": seed}

    def batches(step: int) -> tuple[DayBatch, NightBatch]:
        return day_batch(day_frames, step, **sampling), night_batch(night_frames, step, **sampling)

    for step, (day, pairs) in training.over(batches):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power)
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, factor)
        nets.alone = step <= config.decoder_warmup and (config.loops.inner_loop or config.loops.outer_loop)

        # labelled day: source supervision, inner and outer loop
        terms, x_d2n = nets.day(segmenter, day)

        # night: inner and outer loop
        night_terms, _, x_n2d = nets.night(segmenter, pairs.images)
        terms |= night_terms

        # day reference: inner loop
        if config.loops.inner_loop and len(pairs.references):
            terms |= nets.reference(segmenter, pairs.references)[0]

        # adversarial alignment: the discriminators step first, then judge the translations
        if config.loops.outer_loop:
            discrimination = nets.discriminate(
                day=day.images, night=pairs.images, references=pairs.references, d2n=x_d2n, n2d=x_n2d
            )
            descend(discrimination, optimizers["discriminators"])
            training.record(discriminators=discrimination)
            terms |= nets.alignment(d2n=x_d2n, n2d=x_n2d)

        # update
        descend(nets.total(terms), optimizers["segmenter"], optimizers["decoders"])

        # log
        training.record(**terms)

    set_statistics(segmenter, day=day_frames, night=night_frames, device=place)
    save_loops(nets, loops)
    save_segmenter(segmenter, model, stage="warmup", seed=seed, config=config.model_dump(mode="json"))
    training.publish(metrics)


if __name__ == "__main__":
    command(run)
