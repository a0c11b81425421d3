"""One call whose logits teach the network alone: what two calls would give, one of them for constant images."""

import copy

import pytest
import torch
from checkpoints import small_network
from double_precision import ROUNDING

from loopda.labels.classes import CITYSCAPES
from loopda.models.compute.recomputation import recompute
from loopda.models.segmenter import Segmenter

NETWORKS = {
    "pspnet": {"dropout": 0.0},
    "deeplab": {"name": "deeplab"},
    "efficientnet": {"encoder": "efficientnet_lite0", "dropout": 0.0},
    "daformer": {"name": "daformer", "encoder": "mit_tiny", "dropout": 0.0, "drop_path": 0.0},
}


def build(name):
    """A network in double precision, so that what differs is more than rounding, and images that learn."""
    torch.manual_seed(0)
    segmenter = Segmenter(small_network(**NETWORKS[name]), CITYSCAPES).train().double()
    return segmenter, (torch.rand(2, 3, 32, 48, dtype=torch.float64) * 2 - 1).requires_grad_()


def loss(features, heads):
    """Something of each output."""
    teaching = heads.logits.square().mean() + (heads.aux.square().mean() if heads.aux is not None else 0.0)
    return teaching + features.shallow.square().mean() + features.features.sin().mean()


def gradients(segmenter):
    return {name: value.grad for name, value in segmenter.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("memory", ["fast", "small"])
@pytest.mark.parametrize("aux", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_gradients_are_those_of_a_call_for_the_images_and_one_for_constant_images(name, aux, memory):
    segmenter, images = build(name)
    recompute(segmenter, memory)
    twice, same_images = copy.deepcopy(segmenter), images.detach().clone().requires_grad_()
    outputs = segmenter.with_heads_apart(images, aux=aux)
    loss(outputs, outputs).backward()
    loss(twice(same_images, aux=False, logits=False), twice(same_images.detach(), aux=aux)).backward()
    torch.testing.assert_close(images.grad, same_images.grad, rtol=ROUNDING, atol=1e-12)
    assert gradients(segmenter).keys() == gradients(twice).keys()
    for key, expected in gradients(twice).items():
        torch.testing.assert_close(gradients(segmenter)[key], expected, rtol=ROUNDING, atol=1e-12)


def test_the_images_learn_nothing_from_the_logits():
    segmenter, images = build("pspnet")
    segmenter.with_heads_apart(images, aux=True).logits.square().mean().backward()
    assert images.grad is None
    assert gradients(segmenter)


def test_the_images_learn_from_the_features_though_the_logits_are_not_used():
    segmenter, images = build("pspnet")
    segmenter.with_heads_apart(images, aux=False).features.square().mean().backward()
    assert images.grad.abs().max() > 0
    assert not [name for name in gradients(segmenter) if name.startswith("final2")]


def test_the_running_statistics_see_the_images_once():
    segmenter, images = build("pspnet")
    outputs = segmenter.with_heads_apart(images, aux=True)
    loss(outputs, outputs).backward()
    assert int(segmenter.network.layer0[1].num_batches_tracked) == 1


def test_parameters_that_do_not_learn_get_no_gradient():
    torch.manual_seed(0)
    segmenter = Segmenter(small_network(freeze_affine=True), CITYSCAPES).train()
    outputs = segmenter.with_heads_apart(torch.rand(2, 3, 32, 48).requires_grad_(), aux=True)
    loss(outputs, outputs).backward()
    frozen = {name for name, value in segmenter.named_parameters() if not value.requires_grad}
    assert frozen
    assert not frozen & gradients(segmenter).keys()


@pytest.mark.parametrize("constant", ["the images", "everything"])
def test_where_the_images_learn_nothing_anyway_it_is_a_call(constant):
    segmenter, images = build("pspnet")
    with torch.set_grad_enabled(constant != "everything"):
        outputs = segmenter.with_heads_apart(images.detach(), aux=True)
        expected = segmenter(images.detach())
    assert torch.equal(outputs.logits, expected.logits)
    assert outputs.logits.requires_grad == (constant != "everything")
