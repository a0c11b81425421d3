"""Stage `self_train`: reference-guided self-training with Day-Night Agreement (LoopDA, section 3.2)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Input
from loopda.data.pseudo_labels import read_pseudo_labels
from loopda.labels.agreement import Agreement, keep_classes, online_label
from loopda.labels.classes import IGNORE, ClassList
from loopda.losses.segmentation import pseudo_cross_entropy
from loopda.methods.loopda import SIDE, Loops, LoopSettings, images_of, load_loops
from loopda.methods.method import Terms
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Segmenter, load_segmenter, upsample
from loopda.runtime import distributed
from loopda.runtime.command import command, records
from loopda.training.job import Job
from loopda.training.loop import Training
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate


class Config(Section):
    """The section `self_train`, with `input`, `compute`, `loops` and `agreement`."""

    input: Input
    compute: Compute
    loops: LoopSettings
    agreement: Agreement
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: SegmenterOptimizer


@records("model")
def run(
    *,
    config: Config,
    warmed_up: Path,
    loops: Path,
    labels: Path,
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
    """Go on from the warm-up's model and loops, with the offline labels of `pseudo_labels` and online ones."""
    job = Job("self_train", config, model=model, log=log, seed=seed, device=device, threads=threads)
    job.open(source=source, night=night, classes=classes)
    pseudo = read_pseudo_labels(labels, config.input.size)
    if job.referenced < len(job.night):
        job.log.say(
            f"{len(job.night) - job.referenced} of {len(job.night)} night images have no day reference: for them "
            "inner_ud, seg_ud and the online label are left out, and the offline label keeps every class"
        )

    segmenter = load_segmenter(warmed_up).to(job.device).train()
    nets = Loops(config.loops, segmenter).to(job.device)
    nets.separate_passes = config.compute.memory == "least"
    load_loops(nets, loops)
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **nets.optimizers()}
    training = job.training(
        parts={"network": segmenter.network, "loops": nets, **optimizers},
        inputs={"warmed_up": warmed_up, "loops": loops, "labels": labels},
        images=(3 if job.referenced else 2) * config.batch_size,
    )

    train(config, segmenter, nets, optimizers, training, job.batches(pseudo))
    job.finish(training, segmenter, metrics)


def train(
    config: Config,
    segmenter: Segmenter,
    nets: Loops,
    optimizers: Mapping[str, Optimizer],
    training: Training,
    batches: Callable[[int], tuple[DayBatch, NightBatch]],
) -> None:
    """The steps of self-training. batches: from a step to its labelled batch and its batch of pairs."""
    for step, (day, pairs) in training.over(batches):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power)
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, factor)

        images, size = images_of(day, pairs), pairs.labels.shape[1:]
        logits: dict[str, Tensor] = {}
        losses: Terms = {}
        with training.descent(optimizers["segmenter"], optimizers["decoders"]) as learn:
            for x in nets.passes(images):
                # encode, decode, encode the translations, decode (equations 1, 2 and 4 to 6)
                looped = nets(segmenter, x, day.labels)
                terms = looped.terms
                logits |= {k: upsample(z.logits, size, z.aligned) for k, z in looped.outputs.items() if k != "d"}

                # day reference: offline label (equation 8)
                if "ud" in x:
                    terms["seg_ud"] = pseudo_cross_entropy(logits=logits["ud"], labels=pairs.reference_labels)
                    logits["ud"] = logits["ud"].detach()

                # night: co-teaching by offline label and Day-Night Agreement (equations 9 and 10)
                if "n" in x:
                    reference = logits["ud"] if "ud" in images else logits["n"][:0]
                    tau = config.agreement.tau
                    terms["seg_n"], lor = co_teaching(logits["n"], reference, pairs, segmenter.classes, tau=tau)
                    if "ud" in images:
                        losses["lor"] = distributed.mean(lor.sum(), len(lor))

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


def co_teaching(
    night_logits: Tensor, reference_logits: Tensor, pairs: NightBatch, classes: ClassList, *, tau: float
) -> tuple[Tensor, Tensor]:
    """L_seg^n of equation 10, CE with the offline plus CE with the online label, and the LOR of each pair.

    The offline label keeps dynamic and shift-sensitive classes; a night image without a reference keeps all of its
    offline label, since nothing else would teach it static classes. No label carries a gradient.
    """
    paired = pairs.paired
    offline = torch.where(
        paired[:, None, None], keep_classes(pairs.labels, classes.dynamic | classes.ssc), pairs.labels
    )
    loss = pseudo_cross_entropy(logits=night_logits, labels=offline)
    if not distributed.total(len(reference_logits)):
        return loss, night_logits.new_zeros(0)
    count = len(reference_logits)
    places = paired.argsort(descending=True, stable=True)[:count]  # of the pairs; a mask would have the GPU waited for
    chosen = online_label(
        night=night_logits[places].argmax(dim=1),
        reference=reference_logits.argmax(dim=1),
        dynamic=classes.dynamic,
        ssc=classes.ssc,
        tau=tau,
    )
    online = torch.full_like(pairs.labels, IGNORE).index_copy(0, places, chosen.label)
    return loss + pseudo_cross_entropy(logits=night_logits, labels=online), chosen.lor


if __name__ == "__main__":
    command(run)
