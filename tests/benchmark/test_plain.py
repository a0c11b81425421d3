"""The package's fast way of an iteration has the losses and gradients of the plain reference."""

import copy
from types import MappingProxyType

import pytest
import torch
from checkpoints import small_network
from torch import nn
from torch.nn import functional
from torch.optim import SGD

import loopda.methods.loopda as module
from loopda.benchmark import plain
from loopda.config import parse_section
from loopda.data.batches import DayBatch, NightBatch
from loopda.labels.classes import CITYSCAPES
from loopda.methods.loopda import Loops, LoopSettings
from loopda.models.segmenter import Segmenter
from loopda.stages import self_train, warmup

SIZE = (24, 32)
DECODERS = MappingProxyType(
    {
        "features": "layer4",
        "width": 8,
        "residual_blocks": 1,
        "semantic_channels": 5,
        "rendering": "residual",
        "coarse_rendering": False,
        "image_kernel": 7,
        "discriminator_width": 4,
        "discriminator_scales": 1,
        "lr": 1e-3,
        "discriminator_lr": 1e-4,
        "lpips": "alex",
        "lpips_weights": "",
    }
)
WEIGHTS = MappingProxyType(
    {
        "seg": 1.25,
        "inner": 1.0,
        "outer": 2.0,
        "adv": 0.1,
        "percep": 3.0,
        "z": 0.1,
        "lpips": 0.25,
        "fusion": 0.5,
        "aux": 0.1,
    }
)


class Distance(nn.Module):
    """In the place of LPIPS, which needs larger images."""

    def forward(self, images, references):
        return (functional.avg_pool2d(images, 2) - functional.avg_pool2d(references, 2)).square().mean()


class Noted(SGD):
    """Remembers the gradients of its step."""

    def step(self, closure=None):
        self.gradient = torch.cat([value.grad.flatten() for group in self.param_groups for value in group["params"]])
        super().step(closure)


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.setattr(module, "PerceptualDistance", lambda net, trunk: Distance())

    def build(detach, features):
        torch.manual_seed(0)
        section = {"inner_loop": True, "outer_loop": True, "detach_translated": detach}
        section |= {"decoders": {**DECODERS, "features": features}, "weights": dict(WEIGHTS)}
        segmenter = Segmenter(small_network(dropout=0.0), CITYSCAPES).train()
        return segmenter, Loops(parse_section(section, LoopSettings, "loops"), segmenter)

    return build


def batches():
    torch.manual_seed(1)
    day, night, reference = torch.rand(3, 2, 3, *SIZE) * 2 - 1
    labels = [torch.tensor([0, 5, 11, 13, 255])[torch.randint(0, 5, (2, *SIZE))] for _ in range(3)]
    boxes, paired = torch.zeros(2, 4), torch.ones(2, dtype=torch.bool)
    return DayBatch(day, labels[0], boxes), NightBatch(night, reference, paired, labels[1], labels[2], boxes)


def stepped(iteration, segmenter, nets, **arguments):
    """The losses of an iteration, and the gradient that each optimiser saw."""
    segmenter, nets = copy.deepcopy(segmenter), copy.deepcopy(nets)
    parts = {"segmenter": segmenter, "decoders": nets.decoders, "discriminators": nets.discriminators}
    optimizers = {
        name: Noted([value for value in part.parameters() if value.requires_grad], lr=1e-3)
        for name, part in parts.items()
    }
    terms = iteration(segmenter, nets, optimizers, *batches(), **arguments)
    return terms, {name: optimizer.gradient for name, optimizer in optimizers.items()}


def distance(one, other):
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("stage", ["warmup", "self_train"])
@pytest.mark.parametrize(("detach", "features"), [(True, "layer2"), (False, "layer4"), (True, "layer4")])
def test_an_iteration_has_the_losses_and_the_gradients_of_the_plain_reference(networks, stage, detach, features):
    segmenter, nets = networks(detach, features)
    arguments = {"tau": 0.05} if stage == "self_train" else {}
    fast = {"warmup": warmup, "self_train": self_train}[stage].iteration
    terms, gradients = stepped(fast, segmenter, nets, **arguments)
    expected, expected_gradients = stepped(plain.iteration, segmenter, nets, **arguments)
    terms.pop("lor", None)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5), name
    for name, gradient in expected_gradients.items():
        assert distance(gradients[name], gradient) < 1e-5, name
