"""The optimisers of networks and discriminators, and the update by one or several backward passes."""

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

    Layer normalisations have no weight decay, as usual for transformers.
    """
    network = segmenter.network
    norms = [part for part in network.modules() if isinstance(part, nn.LayerNorm)]
    undecayed = {id(parameter) for part in norms for parameter in part.parameters()}
    backbone = list(network.backbone_parameters())
    groups = [
        {"params": [parameter for parameter in backbone if id(parameter) not in undecayed]},
        {"params": list(network.head_parameters()), "lr": section.lr * section.head_factor},
    ]
    if undecayed:
        norm_parameters = [parameter for parameter in backbone if id(parameter) in undecayed]
        groups.append({"params": norm_parameters, "weight_decay": 0.0})
    common = {"lr": section.lr, "weight_decay": section.weight_decay, "fused": True}
    if section.name == "adamw":
        return _with_initial_lr(AdamW(groups, betas=(section.momentum, 0.999), **common))
    return _with_initial_lr(SGD(groups, momentum=section.momentum, **common))


def adam(modules: Iterable[nn.Module], lr: float, betas: tuple[float, float] = (0.5, 0.999)) -> Optimizer:
    """Adam for `modules`; the default betas are those of TridentAdapt's decoders and discriminators."""
    return _with_initial_lr(Adam(_parameters(modules), lr=lr, betas=betas, fused=True))


class DiscriminatorOptimizer(Section):
    """The optimiser of a discriminator. momentum: of SGD, or Adam's first beta, whose second is 0.999."""

    name: Literal["adam", "sgd"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative


def discriminator_optimizer(modules: Iterable[nn.Module], section: DiscriminatorOptimizer) -> Optimizer:
    """The section's optimiser for `modules`."""
    common = {"lr": section.lr, "weight_decay": section.weight_decay, "fused": True}
    if section.name == "adam":
        return _with_initial_lr(Adam(_parameters(modules), betas=(section.momentum, 0.999), **common))
    return _with_initial_lr(SGD(_parameters(modules), momentum=section.momentum, **common))


def _parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def _with_initial_lr(optimizer: Optimizer) -> Optimizer:
    """The optimiser, whose groups keep their learning rates for `loopda.training.schedule.set_learning_rate`."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameters_of(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    """The parameters that the optimisers update, in their order."""
    return [value for optimizer in optimizers for group in optimizer.param_groups for value in group["params"]]


@contextmanager
def descent(*optimizers: Optimizer) -> Iterator[Backward]:
    """One step of each optimiser at the end of the block, along the summed gradient of all backward passes.

        with descent(optimizer) as backward:
            backward(loss)

    The gradients of all processes are added. A backward pass frees what its loss kept. The stages use
    `Training.descent`, which also skips steps that are not finite.
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    yield lambda loss: loss.backward()
    distributed.add_gradients(parameters_of(optimizers))
    for optimizer in optimizers:
        optimizer.step()


def descend(loss: Tensor, *optimizers: Optimizer) -> None:
    """One step of each optimiser along the gradient of `loss`."""
    with descent(*optimizers) as backward:
        backward(loss)
