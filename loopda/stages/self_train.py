"""Stage `self_train`: reference-guided self-training with Day-Night Agreement (LoopDA, section 3.2)."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from loopda.config import Count, Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Input
from loopda.data.pseudo_labels import read_pseudo_labels
from loopda.labels.agreement import Agreement, keep_classes, online_label
from loopda.labels.classes import IGNORE, ClassList
from loopda.losses.segmentation import pseudo_cross_entropy
from loopda.methods.loopda import DOMAIN, Loops, LoopSettings, images_of, load_loops, passes
from loopda.methods.method import Terms
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import Segmenter, upsample
from loopda.runtime import distributed
from loopda.runtime.command import command, records
from loopda.training.loop import Training
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.stage import TrainingStage


class Config(Section):
    """The section `self_train`, with `input`, `compute`, `loops` and `agreement`."""

    input: Input
    compute: Compute
    loops: LoopSettings
    agreement: Agreement
    steps: Count
    batch_size: Count
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
    """Go on from the warm-up's model and loops, with the offline labels of `pseudo_labels` and online labels."""
    stage = TrainingStage("self_train", config, model=model, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes)
    pseudo = read_pseudo_labels(labels, config.input.size)
    if stage.referenced < len(stage.night):
        stage.log.say(
            f"{len(stage.night) - stage.referenced} of {len(stage.night)} night images have no day reference: for them "
            "inner_ud, seg_ud and the online label are left out, and the offline label keeps every class"
        )

    segmenter = load_segmenter(warmed_up).to(stage.device).train()
    nets = Loops(config.loops, segmenter).to(stage.device)
    load_loops(nets, loops)
    optimizers = {"segmenter": segmenter_optimizer(segmenter, config.optimizer), **nets.optimizers()}
    training = stage.training(
        parts={"network": segmenter.network, "loops": nets, **optimizers},
        inputs={"warmed_up": warmed_up, "loops": loops, "labels": labels},
        images=(3 if stage.referenced else 2) * config.batch_size,
    )

    train(config, segmenter, nets, optimizers, training, stage.batches(pseudo))
    stage.finish(training, segmenter, metrics)


def train(
    config: Config,
    segmenter: Segmenter,
    nets: Loops,
    optimizers: Mapping[str, Optimizer],
    training: Training,
    batches: Callable[[int], tuple[DayBatch, NightBatch]],
) -> None:
    """The steps of self-training. batches: from a step to its labelled day batch and its night batch.

    Images and terms go by symbol: d labelled day, n night, ud day reference; d2n and n2d are translations.
    """
    for step, (day, pairs) in training.over(batches):
        # set learning rate
        factor = poly(step, steps=config.steps, power=config.optimizer.power)
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, factor)

        images = images_of(day, pairs)
        size = pairs.labels.shape[1:]
        logits: dict[str, Tensor] = {}
        losses: Terms = {}
        with training.descent(optimizers["segmenter"], optimizers["decoders"]) as backward:
            for x in passes(images, config.compute.memory):
                # inner and outer loops (Loops.forward): the terms seg_d, inner, percep, seg_d2n and outer, and the
                # translations (equations 1, 2 and 4 to 6)
                result = nets(segmenter, x, day.labels)
                terms = result.terms
                logits |= {k: upsample(z.logits, size, z.aligned) for k, z in result.outputs.items() if k != "d"}

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


def co_teaching(
    night_logits: Tensor, reference_logits: Tensor, pairs: NightBatch, classes: ClassList, *, tau: float
) -> tuple[Tensor, Tensor]:
    """L_seg^n of equation 10: cross-entropy with the offline plus that with the online label; and the LOR of each pair.

    night_logits (N, K, H, W); reference_logits (M, K, H, W) of the M paired images. The offline label keeps dynamic and
    shift-sensitive classes; without a reference it keeps all classes, since nothing else would train the static ones.
    No label carries a gradient.
    """
    # offline label
    kept = keep_classes(pairs.labels, classes.dynamic | classes.ssc)
    offline = torch.where(pairs.paired[:, None, None], kept, pairs.labels)
    loss = pseudo_cross_entropy(logits=night_logits, labels=offline)
    if not distributed.total(len(reference_logits)):
        return loss, night_logits.new_zeros(0)

    # online label of the paired images; a boolean mask instead of their indices would wait for the GPU
    paired = pairs.paired.argsort(descending=True, stable=True)[: len(reference_logits)]
    label, lor, _ = online_label(
        night=night_logits[paired].argmax(dim=1),
        reference=reference_logits.argmax(dim=1),
        dynamic=classes.dynamic,
        ssc=classes.ssc,
        tau=tau,
    )
    online = torch.full_like(pairs.labels, IGNORE).index_copy(0, paired, label)
    return loss + pseudo_cross_entropy(logits=night_logits, labels=online), lor


if __name__ == "__main__":
    command(run)
