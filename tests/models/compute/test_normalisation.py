"""Several domains in one batch are normalised as in one call each."""

import copy

import pytest
import torch
from checkpoints import small_network
from double_precision import ROUNDING
from torch import nn

from loopda.labels.classes import CITYSCAPES
from loopda.models.compute.normalisation import BatchNorm2d, InstanceNorm2d, domains_of
from loopda.models.segmenter import Segmenter


@pytest.fixture
def images():
    torch.manual_seed(0)
    return [torch.rand(count, 3, 16, 24) * scale for count, scale in ((2, 1.0), (1, 0.3), (3, 2.0))]


def test_outputs_gradients_and_running_statistics_are_those_of_a_call_for_each_domain(images):
    joint = BatchNorm2d(3)
    apart = nn.BatchNorm2d(3)
    inputs = torch.cat(images).requires_grad_()
    with domains_of(joint, [2, 1, 3]):
        found = joint(inputs)
    expected = torch.cat([apart(part) for part in inputs.split([2, 1, 3])])
    assert torch.equal(found, expected)
    assert all(torch.equal(one, other) for one, other in zip(joint.buffers(), apart.buffers(), strict=True))
    gradients = [torch.autograd.grad(out.square().sum(), inputs)[0] for out in (found, expected)]
    assert torch.equal(*gradients)
    assert not torch.allclose(nn.BatchNorm2d(3)(inputs), expected, atol=0.1)


def test_a_head_that_sees_the_first_images_alone_normalises_their_domains(images):
    joint = BatchNorm2d(3)
    with domains_of(joint, [2, 1, 3]):
        found = joint(torch.cat(images[:2]))
    assert torch.equal(found, torch.cat([nn.BatchNorm2d(3)(part) for part in images[:2]]))


def test_afterwards_there_are_no_domains_even_if_the_block_failed(images):
    network = nn.Sequential(BatchNorm2d(3))
    with pytest.raises(KeyError), domains_of(network, [2, 4]):
        raise KeyError
    assert torch.equal(network(torch.cat(images)), nn.BatchNorm2d(3)(torch.cat(images)))


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("pspnet", "resnet"),
        ("deeplab", "resnet"),
        ("daformer", "mit_tiny"),
        ("pspnet", "efficientnet_lite0"),
        ("deeplab", "efficientnet_lite0"),
        ("daformer", "efficientnet_lite0"),
    ],
)
def test_batches_together_have_the_outputs_of_a_call_each_and_the_auxiliary_head_only_where_asked_for(
    images, name, encoder
):
    section = small_network(name=name, encoder=encoder, dropout=0.0, drop_path=0.0)
    together = Segmenter(section, CITYSCAPES).train().double()
    images = [image.double() for image in images]
    apart = copy.deepcopy(together)
    has_aux = together.network.has_aux
    found = together.forward_batches(images, aux=[False, False, True])
    # the running statistics see those that want it first
    expected = {place: apart(images[place], aux=place == 2) for place in (2, 0, 1)}
    for place, outputs in enumerate(found):
        for part in ("shallow", "features", "logits"):
            assert torch.allclose(getattr(outputs, part), getattr(expected[place], part), rtol=ROUNDING, atol=ROUNDING)
        assert (outputs.aux is not None) == (place == 2 and has_aux)
    if has_aux:
        assert torch.allclose(found[2].aux, expected[2].aux, rtol=ROUNDING, atol=ROUNDING)
    for one, other in zip(together.buffers(), apart.buffers(), strict=True):
        assert torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_the_gradient_of_instance_normalisation_is_that_of_finite_differences(count, layout):
    """PyTorch's own was wrong for one image in the layout channels_last."""
    torch.manual_seed(0)
    images, weights = (torch.randn(count, 3, 4, 5).double().contiguous(memory_format=layout) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: InstanceNorm2d(3)(x) * weights, images.requires_grad_())
    assert torch.allclose(InstanceNorm2d(3)(images), nn.InstanceNorm2d(3)(images))
