"""What every adaptation method is to `stages/adapt.py`, and what the methods and LoopDA's loops share."""

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

    segmenter: for the segmentation network and the method's companions, or None: this step does not teach them.
    adversaries: for the method's adversaries, whose inputs carry no gradient, or None.
    terms: what metrics.jsonl shows, by name, without the weights that the method gives them.
    learner: the optimiser that steps the segmentation network: the stage's own, or one of the method's by its name.
    """

    segmenter: Tensor | None
    adversaries: Tensor | None
    terms: Terms
    learner: str = "segmenter"


class Method(nn.Module):
    """What a method adds to supervised training on the labelled day, in the stage `adapt`.

    It is a module: networks and buffers of its own are saved, and resumed exactly. Its networks learn through
    `optimizers`: those under "companions" step with the segmentation network, along the gradient of the same loss;
    those under "adversaries" step along their own.

    draw: chooses the labelled images of each step, where the method does not take all of them in turn.
    files: those that it has read, by name; progress that was made with others is not used. notes: lines for the log.
    """

    draw: Draw | None = None

    def __init__(self, settings: Section, segmenter: Segmenter, source: Frames):
        """settings: the method's section in `methods`. source: the labelled day's frames, for statistics of them."""
        super().__init__()
        self.settings = settings
        self.files: dict[str, Path] = {}
        self.notes: list[str] = []

    @property
    def reads_translations(self) -> bool:
        """Whether the labelled batches are of translated day images, which the stage `translate` makes."""
        return False

    def optimizers(self) -> dict[str, Optimizer]:
        """Of "companions" and "adversaries", those that the method has; and learners of the segmentation network."""
        return {}

    def factors(self, step: int, steps: int) -> dict[str, float]:
        """On the initial rates of its optimisers at `step`, by name, where they do not follow the stage's rule."""
        return {}

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        """The losses of step `step` of 1 ... `steps`."""
        raise NotImplementedError


def probabilities(outputs: Outputs) -> Tensor:
    """p = softmax(F(z)) at the resolution of the logits, (N, K, h, w)."""
    return outputs.logits.float().softmax(dim=1)


def supervision(outputs: Outputs, labels: Tensor, aux: float) -> Tensor:
    """Cross-entropy of the upsampled main logits, + `aux` times that of the auxiliary head (0.1 in the lineage)."""
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
    """A network of constant weights to imitate, in which nothing is dropped; `say` what it is.

    weights: the file of its backbone; None: `segmenter` is copied as it is. statistics: by which it normalises: each
    batch's, or those that it kept from its training, of `domain` where it has several. These are of the input that its
    weights were trained with, which it then sees, whatever `segmenter` does.
    """

    def tell(text: str) -> None:
        say(f"the frozen network: {text}")

    if weights:
        kept = domain if statistics == "kept" else ""
        copied = new_segmenter(segmenter.section, segmenter.classes, weights, kept=kept, say=tell).eval()
    else:
        copied = copy.deepcopy(segmenter)
        tell("the source-only model")
        if statistics == "kept":
            tell(f"it keeps its {copied.use_statistics(domain)} statistics")
        copied.eval()
    if statistics == "batch":
        tell("it normalises by each batch")
        for part in copied.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean = part.running_var = None  # without its own, it takes the batch's
    return copied.requires_grad_(False)


def frozen(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """`module` with constant parameters: gradients pass through to its input, none are computed for its weights."""
    constants = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return lambda images: torch.func.functional_call(module, constants, (images,))
