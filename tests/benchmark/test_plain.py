"""The package's fast way of an iteration has the losses and gradients of the plain reference."""

import copy

import pytest
import torch
from checkpoints import small_network
from loops import CheapDistance, loop_settings
from torch.optim import SGD

import loopda.methods.loopda as module
from loopda.benchmark import plain
from loopda.data.batches import DayBatch, NightBatch
from loopda.labels.classes import CITYSCAPES
from loopda.losses.adversarial import discriminator_loss
from loopda.methods.loopda import Loops
from loopda.models.recomputation import recompute
from loopda.models.segmenter import Segmenter
from loopda.stages import self_train, warmup

SIZE = (24, 32)


class Noted(SGD):
    """Adds up the gradients of its steps: the discriminators may step together, or one after the other."""

    gradient = 0.0

    def step(self, closure=None):
        values = [value for group in self.param_groups for value in group["params"]]
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in values]
        self.gradient = self.gradient + torch.cat([gradient.flatten() for gradient in gradients])
        super().step(closure)


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.setattr(module, "PerceptualDistance", lambda net, trunk: CheapDistance())
    # all in double precision, the losses' islands too: what differs then is more than rounding
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

    def build(detach, features):
        torch.manual_seed(0)
        settings = loop_settings(decoders={"features": features}, detach_translated=detach)
        segmenter = Segmenter(small_network(dropout=0.0), CITYSCAPES).train().double()
        return segmenter, Loops(settings, segmenter).double()

    return build


def batches():
    torch.manual_seed(1)
    day, night, reference = torch.rand(3, 2, 3, *SIZE, dtype=torch.float64) * 2 - 1
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


@pytest.mark.parametrize("memory", ["fast", "small", "least"])
@pytest.mark.parametrize("stage", ["warmup", "self_train"])
@pytest.mark.parametrize(("detach", "features"), [(True, "layer2"), (False, "layer4"), (True, "layer4")])
def test_an_iteration_has_the_losses_and_the_gradients_of_the_plain_reference(
    networks, stage, detach, features, memory
):
    segmenter, nets = networks(detach, features)
    nets.one_by_one = memory == "least"
    for part in (segmenter, nets):
        recompute(part, memory)
    arguments = {"tau": 0.05} if stage == "self_train" else {}
    fast = {"warmup": warmup, "self_train": self_train}[stage].iteration
    terms, gradients = stepped(fast, segmenter, nets, **arguments)
    expected, expected_gradients = stepped(plain.iteration, segmenter, nets, **arguments)
    terms.pop("lor", None)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-9), name
    for name, gradient in expected_gradients.items():
        assert distance(gradients[name], gradient) < 1e-9, name


def test_a_loop_by_itself_has_the_same_losses_as_side_by_side_with_the_others(networks):
    segmenter, nets = networks(True, "layer2")
    day, pairs = batches()
    (together,) = nets.run(segmenter, nets.day(day), nets.night(pairs.images), nets.reference(pairs.references))
    for one, make in zip(together, (nets.day, nets.night, nets.reference), strict=True):
        given = {nets.day: day, nets.night: pairs.images, nets.reference: pairs.references}[make]
        ((alone,),) = nets.run(segmenter, make(given))
        assert {name: value.item() for name, value in alone.terms.items()} == pytest.approx(
            {name: value.item() for name, value in one.terms.items()}, rel=1e-9
        )


def test_images_of_another_size_than_the_others_take_calls_of_their_own(networks):
    segmenter, nets = networks(True, "layer2")
    day, pairs = batches()
    smaller = DayBatch(day.images[..., :24], day.labels[..., :24], day.boxes)
    ((mixed, night),) = nets.run(segmenter, nets.day(smaller), nets.night(pairs.images))
    ((alone,),) = nets.run(segmenter, nets.day(smaller))
    x_d2n, x_n2d = mixed.translation.images, night.translation.images
    assert x_d2n.shape == smaller.images.shape
    assert {name: value.item() for name, value in mixed.terms.items()} == pytest.approx(
        {name: value.item() for name, value in alone.terms.items()}, rel=1e-9
    )
    d_d, d_n = nets.discriminators["day"], nets.discriminators["night"]
    seen = smaller.images, pairs.images, pairs.references
    loss = nets.discriminate(night.translation, *seen)
    expected = discriminator_loss(real=[d_d(smaller.images), d_d(pairs.references)], fake=d_d(x_n2d))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    loss = nets.discriminate(mixed.translation, *seen)
    expected = discriminator_loss(real=[d_n(pairs.images)], fake=d_n(x_d2n))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
