"""The optimisers of the lineage."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from loopda.config import NonNegative, Positive, Section
from loopda.models.segmenter import Segmenter
from loopda.runtime import distributed

Learn = Callable[[Tensor], None]


class SegmenterOptimizer(Section):
    """The optimiser of the segmentation network: the paper's SGD (section 4.1), or AdamW to train from scratch."""

    name: Literal["sgd", "adamw"]
    lr: Positive
    head_factor: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    power: NonNegative


def segmenter_optimizer(segmenter: Segmenter, section: SegmenterOptimizer) -> Optimizer:
    """The base learning rate on the backbone and `head_factor` times as much on the heads.

    Layer normalisations have no weight decay: the rule for the transformers of the literature.
    """
    network = segmenter.network
    norms = [part for part in network.modules() if isinstance(part, nn.LayerNorm)]
    undecayed = {id(parameter) for part in norms for parameter in part.parameters()}
    backbone = list(network.backbone_parameters())
    groups = [
        {"params": [one for one in backbone if id(one) not in undecayed], "lr": section.lr},
        {"params": list(network.head_parameters()), "lr": section.lr * section.head_factor},
    ]
    if undecayed:
        kept = [one for one in backbone if id(one) in undecayed]
        groups.append({"params": kept, "lr": section.lr, "weight_decay": 0.0})
    for group in groups:
        group["initial_lr"] = group["lr"]
    if section.name == "adamw":
        return AdamW(groups, betas=(section.momentum, 0.999), weight_decay=section.weight_decay, fused=True)
    return SGD(groups, lr=section.lr, momentum=section.momentum, weight_decay=section.weight_decay, fused=True)


def adam(modules: Iterable[nn.Module], lr: float, betas: tuple[float, float] = (0.5, 0.999)) -> Optimizer:
    """Adam, by default with the betas by which the lineage trains its decoders and discriminators."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = Adam(parameters, lr=lr, betas=betas, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = lr
    return optimizer


class CompanionOptimizer(Section):
    """The optimiser of a method's own network. momentum: of SGD, or Adam's first beta, whose second is 0.999."""

    name: Literal["adam", "sgd"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative


def companion_optimizer(modules: Iterable[nn.Module], section: CompanionOptimizer) -> Optimizer:
    """Adam or SGD for `modules`."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    rates = {"lr": section.lr, "weight_decay": section.weight_decay, "fused": True}
    if section.name == "adam":
        optimizer = Adam(parameters, betas=(section.momentum, 0.999), **rates)
    else:
        optimizer = SGD(parameters, momentum=section.momentum, **rates)
    for group in optimizer.param_groups:
        group["initial_lr"] = section.lr
    return optimizer


@contextmanager
def descent(*optimizers: Optimizer) -> Iterator[Learn]:
    """One step of each optimiser, at the end of the block, along the gradient of the sum of all losses that it learns.

        with descent(optimizer) as learn:
            learn(loss)

    Every process adds the gradient of its samples. What a loss kept for its backward pass is free when it is learnt.
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    yield lambda loss: loss.backward()
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    distributed.add_gradients([parameter for group in groups for parameter in group["params"]])
    for optimizer in optimizers:
        optimizer.step()


def descend(loss: Tensor, *optimizers: Optimizer) -> None:
    """One step of each optimiser along the gradient of `loss`."""
    with descent(*optimizers) as learn:
        learn(loss)
