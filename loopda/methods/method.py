"""The interface between `stages/adapt.py` and an adaptation method, and what the methods and LoopDA's loops share."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.batches import DayBatch, Draw, NightBatch
from loopda.data.dataset import Frames
from loopda.errors import ConfigError
from loopda.exchange.backbone import new_segmenter
from loopda.losses.segmentation import cross_entropy
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter, upsample

Terms = dict[str, Tensor]


class Losses(NamedTuple):
    """What one step minimises.

    segmenter: the loss of the segmentation network, or None where the step does not update it.
    terms: the values for metrics.jsonl by name, without the method's weights.
    discriminators: the loss of the method's discriminators, whose inputs carry no gradient, or None.
    optimizer: the name of the optimiser that updates the segmentation network: "segmenter" is the stage's own, another
    name is one of `Method.optimizers`.
    """

    segmenter: Tensor | None
    terms: Terms
    discriminators: Tensor | None = None
    optimizer: str = "segmenter"


class Method(nn.Module):
    """What a method adds to supervised training on the labelled day, in the stage `adapt`.

    A method is a module: its networks and buffers are saved, and resumed exactly.

    draw: chooses the labelled images of each step; None takes all of them in turn. files: the files that the method
    has read, by name; progress made with other files is not resumed. notes: lines for the log.
    """

    draw: Draw | None = None

    def __init__(self, settings: Section, segmenter: Segmenter, source: Frames):
        """settings: the method's section in `methods`. source: the labelled day frames, for statistics of them."""
        super().__init__()
        self.settings = settings
        self.files: dict[str, Path] = {}
        self.notes: list[str] = []

    @property
    def reads_translations(self) -> bool:
        """Whether the labelled images are the translated ones of the stage `translate`."""
        return False

    def optimizers(self) -> dict[str, Optimizer]:
        """The optimisers of the method by name.

        "joint" updates networks of the method along the segmentation network's loss, in the same steps.
        "discriminators" updates networks along `Losses.discriminators`. Any other optimiser updates the segmentation
        network in the steps whose `Losses.optimizer` names it.
        """
        return {}

    def factors(self, step: int, steps: int) -> dict[str, float]:
        """By optimiser, the factor on its initial learning rate at `step`; the others follow the stage's schedule."""
        return {}

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        """The losses of step `step` of 1 ... `steps`."""
        raise NotImplementedError


def probabilities(outputs: Outputs) -> Tensor:
    """p = softmax(F(z)) at the resolution of the logits, (N, K, h, w)."""
    return outputs.logits.float().softmax(dim=1)


def supervision(outputs: Outputs, labels: Tensor, aux: float) -> Tensor:
    """Equation 1: cross-entropy of the upsampled logits, + `aux` times the auxiliary head's (0.1 in TridentAdapt).

    labels (N, H, W), 255 = not labelled; mean over the labelled pixels, in [0, inf).
    """
    size = labels.shape[1:]
    loss = cross_entropy(logits=upsample(outputs.logits, size, outputs.aligned), labels=labels)
    if aux:
        if outputs.aux is None:
            raise ConfigError("the network has no auxiliary head: set the stage's or the method's weight `aux` to 0")
        loss = loss + aux * cross_entropy(logits=upsample(outputs.aux, size, outputs.aligned), labels=labels)
    return loss


def frozen_copy(
    segmenter: Segmenter,
    weights: Path | None,
    *,
    domain: str,
    statistics: Literal["batch", "kept"],
    say: Callable[[str], None],
) -> Segmenter:
    """A frozen network without dropout, with whose features a method compares those of the trained network.

    weights: the file of its backbone; None copies `segmenter` as it is. statistics: those of its batch normalisation,
    either each batch's or those kept from its training, for `domain` where it has several. Kept statistics belong to
    the input normalisation of its weights; it then uses that one, whatever `segmenter` uses. say: takes lines for the
    log.
    """

    def say_of_network(text: str) -> None:
        say(f"the frozen network: {text}")

    if weights:
        kept = domain if statistics == "kept" else ""
        network = new_segmenter(segmenter.section, segmenter.classes, weights, kept=kept, say=say_of_network).eval()
    else:
        network = copy.deepcopy(segmenter)
        say_of_network("the source-only model")
        if statistics == "kept":
            say_of_network(f"it keeps its {network.use_statistics(domain)} statistics")
        network.eval()
    if statistics == "batch":
        say_of_network("it normalises by each batch")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = module.running_var = None  # without running statistics it uses the batch's
    return network.requires_grad_(False)


def frozen(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """`module` with constant parameters: gradients pass to its input, and none are computed for its weights."""
    constants = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return lambda images: torch.func.functional_call(module, constants, (images,))
