"""What the tests of methods share: a small network, a batch of each domain, and who gets a gradient."""

from typing import Any

import torch
from checkpoints import small_network
from torch import Tensor, nn

from loopda.config import Section, parse_section
from loopda.data.batches import DayBatch, NightBatch
from loopda.labels.classes import ClassList
from loopda.methods.method import Method
from loopda.models.segmenter import Segmenter, running_statistics

CLASSES = ClassList(
    names=("road", "pole", "sky", "car"),
    colours=((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)),
    dynamic=frozenset({3}),
    ssc=frozenset({1}),
    encodings={},
)
SIZE = (32, 48)
WHOLE = (0.0, 0.0, 1.0, 1.0)


def small_segmenter(**changes: Any) -> Segmenter:
    """A network of four channels in training, without dropout, with statistics to be evaluated by."""
    segmenter = Segmenter(small_network(dropout=0.0, **changes), CLASSES)
    segmenter.statistics = {domain: running_statistics(segmenter) for domain in ("day", "night")}
    return segmenter.train()


def random_day(boxes: tuple = (WHOLE, WHOLE)) -> DayBatch:
    """Noise with labels of every class and void."""
    count = len(boxes)
    labels = torch.tensor([0, 1, 2, 3, 255])[torch.randint(0, 5, (count, *SIZE))]
    return DayBatch(torch.rand(count, 3, *SIZE) * 2 - 1, labels, torch.tensor(boxes))


def random_night(boxes: tuple = (WHOLE, WHOLE)) -> NightBatch:
    """Darker noise, without references and labels."""
    count = len(boxes)
    images = torch.rand(count, 3, *SIZE) - 1
    void = torch.full((count, *SIZE), 255)
    return NightBatch(images, images[:0], torch.zeros(count, dtype=torch.bool), void, void[:0], torch.tensor(boxes))


def section_of(kind: type[Section], base_config: dict[str, Any], **changes: Any) -> Section:
    """The section of a method as config.yaml and smoke.yaml have it, with `changes`."""
    name = kind.__module__.rpartition(".")[2]
    return parse_section({"name": name, **base_config["methods"][name]} | changes, kind, name)


def gradients(loss: Tensor, module: nn.Module) -> list[Tensor | None]:
    """d loss / d parameter, for each parameter of `module`; None where the loss does not depend on it."""
    return list(torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, retain_graph=True))


def reaches(loss: Tensor, module: nn.Module) -> bool:
    """Whether a parameter of `module` gets a gradient other than zero from `loss`."""
    return any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients(loss, module))


def losses_of(method: Method, segmenter: Segmenter, *, step: int = 1, steps: int = 10) -> Any:
    """The losses of `method` on a random batch of each domain."""
    return method.losses(segmenter, random_day(), random_night(), step, steps)
