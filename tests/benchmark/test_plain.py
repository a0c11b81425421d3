"""The package's fast way of an iteration has the losses and gradients of the plain reference."""

import copy
from collections import ChainMap

import pytest
import torch
from checkpoints import small_network
from loops import CheapDistance, loop_settings
from torch.optim import SGD

import loopda.methods.loopda as module
from loopda.benchmark import plain
from loopda.benchmark.cases import STAGES, OneStep, sections
from loopda.data.batches import DayBatch, NightBatch
from loopda.labels.classes import CITYSCAPES
from loopda.losses.adversarial import discriminator_loss
from loopda.methods.loopda import Loops, images_of, passes
from loopda.models.compute.recomputation import recompute
from loopda.models.segmenter import Segmenter

SIZE = (24, 32)
TAU = {"tau": 0.05}


class Noted(SGD):
    """Adds up the gradients of its steps: the discriminators may step together, or one after the other."""

    gradient = 0.0

    def __init__(self, module):
        trained = [value for value in module.parameters() if value.requires_grad]
        super().__init__([{"params": trained, "initial_lr": 1e-3}], lr=1e-3)

    def step(self, closure=None):
        values = [value for group in self.param_groups for value in group["params"]]
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in values]
        self.gradient = self.gradient + torch.cat([gradient.flatten() for gradient in gradients])
        super().step(closure)


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.setattr(module, "Lpips", lambda net, trunk: CheapDistance())
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


def stepped(step, segmenter, nets):
    """The losses of a step, and the gradient that each optimiser saw."""
    segmenter, nets = copy.deepcopy(segmenter), copy.deepcopy(nets)
    parts = {"segmenter": segmenter, "decoders": nets.decoders, "discriminators": nets.discriminators}
    optimizers = {name: Noted(part) for name, part in parts.items()}
    terms = step(segmenter, nets, optimizers)
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
    for part in (segmenter, nets):
        recompute(part, memory)
    config, _ = sections("town", stage)
    # one step, at the rate of the reference; with this tau both kinds of online label are there
    changes = {"decoder_warmup": 0} if stage == "warmup" else {"agreement": config.agreement.model_copy(update=TAU)}
    compute = config.compute.model_copy(update={"memory": memory})
    config = config.model_copy(update={"steps": 1, "compute": compute, **changes})

    def of_the_stage(*networks):
        training = OneStep(1)
        STAGES[stage].train(config, *networks, training, lambda step: batches())
        return training.recorded

    def by_the_reference(*networks):
        return plain.iteration(*networks, *batches(), tau=TAU["tau"] if stage == "self_train" else None)

    terms, gradients = stepped(of_the_stage, segmenter, nets)
    expected, expected_gradients = stepped(by_the_reference, segmenter, nets)
    terms.pop("lor", None)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-9), name
    for name, gradient in expected_gradients.items():
        assert distance(gradients[name], gradient) < 1e-9, name


def test_each_domain_has_the_same_losses_by_itself_as_together_with_the_others(networks):
    segmenter, nets = networks(True, "layer2")
    day, pairs = batches()
    images = images_of(day, pairs)
    together = nets(segmenter, images, day.labels).terms
    each = [nets(segmenter, x, day.labels).terms for x in passes(images, "least")]
    assert len(each) == 3
    assert values(ChainMap(*each)) == pytest.approx(values(together), rel=1e-9)


def values(terms):
    return {name: value.item() for name, value in terms.items()}


def test_images_of_another_size_than_the_others_take_calls_of_their_own(networks):
    segmenter, nets = networks(True, "layer2")
    day, pairs = batches()
    images = images_of(day, pairs) | {"d": day.images[..., :24]}
    labels = day.labels[..., :24]
    terms, _, translations = nets(segmenter, images, labels)
    each = [nets(segmenter, {k: x}, labels).terms for k, x in images.items()]
    x_d2n, x_n2d = translations["d2n"], translations["n2d"]
    assert (x_d2n.shape, x_n2d.shape) == (images["d"].shape, images["n"].shape)
    assert values(ChainMap(*each)) == pytest.approx(values(terms), rel=1e-9)
    d_d, d_n = nets.discriminators["day"], nets.discriminators["night"]
    loss = nets.discriminator_loss("n2d", x_n2d, images)
    expected = discriminator_loss(real=[d_d(images["d"]), d_d(pairs.references)], fake=d_d(x_n2d))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    loss = nets.discriminator_loss("d2n", x_d2n, images)
    expected = discriminator_loss(real=[d_n(pairs.images)], fake=d_n(x_d2n))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
