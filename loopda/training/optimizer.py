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

Backward = Callable[[Tensor], None]


class SegmenterOptimizer(Section):
    """The optimiser of the segmentation network: the paper's SGD (section 4.1), or AdamW to train from scratch."""

    name: Literal["sgd", "adamw"]
    lr: Positive
    head_factor: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    power: NonNegative


def segmenter_optimizer(segmenter: Segmenter, section: SegmenterOptimizer) -> Optimizer:
    """The section's optimiser, with `head_factor` times the learning rate on the heads.

    Layer normalisations have no weight decay, as for the transformers of the literature.
    """
    network = segmenter.network
    norms = [part for part in network.modules() if isinstance(part, nn.LayerNorm)]
    undecayed = {id(parameter) for part in norms for parameter in part.parameters()}
    backbone = list(network.backbone_parameters())
    groups = [
        {"params": [parameter for parameter in backbone if id(parameter) not in undecayed], "lr": section.lr},
        {"params": list(network.head_parameters()), "lr": section.lr * section.head_factor},
    ]
    if undecayed:
        norm_parameters = [parameter for parameter in backbone if id(parameter) in undecayed]
        groups.append({"params": norm_parameters, "lr": section.lr, "weight_decay": 0.0})
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


class DiscriminatorOptimizer(Section):
    """The optimiser of a discriminator. momentum: of SGD, or Adam's first beta, whose second is 0.999."""

    name: Literal["adam", "sgd"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative


def discriminator_optimizer(modules: Iterable[nn.Module], section: DiscriminatorOptimizer) -> Optimizer:
    """Adam or SGD for `modules`."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    common = {"lr": section.lr, "weight_decay": section.weight_decay, "fused": True}
    if section.name == "adam":
        optimizer = Adam(parameters, betas=(section.momentum, 0.999), **common)
    else:
        optimizer = SGD(parameters, momentum=section.momentum, **common)
    for group in optimizer.param_groups:
        group["initial_lr"] = section.lr
    return optimizer


@contextmanager
def descent(*optimizers: Optimizer) -> Iterator[Backward]:
    """One step of each optimiser at the end of the block, along the summed gradient of all backward passes.

        with descent(optimizer) as backward:
            backward(loss)

    The gradients of all processes are added. A backward pass frees what its loss kept.
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
    with descent(*optimizers) as backward:
        backward(loss)
