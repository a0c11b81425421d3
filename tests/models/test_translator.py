from itertools import pairwise

import pytest
import torch
from torch import nn

from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.compute.precision import ScoreConvolution
from loopda.models.translator import ImageBuffer, PatchDiscriminator, Translator


def parameters(network):
    return sum(value.numel() for value in network.parameters())


def test_the_generator_of_the_paper_has_11_38_million_parameters():
    with torch.device("meta"):
        network = Translator(width=64, levels=2, residual_blocks=9)
    ends = 49 * 3 * 64 + 64 + 49 * 64 * 3 + 3
    between = 2 * 9 * (64 * 128 + 128 * 256) + 128 + 256 + 128 + 64
    assert parameters(network) == ends + between + 9 * 2 * (9 * 256 * 256 + 256)
    assert round(parameters(network) / 1e6, 2) == 11.38


def test_the_discriminator_of_the_paper_has_2_77_million_parameters():
    with torch.device("meta"):
        network = PatchDiscriminator(width=64, layers=3)
    channels = [3, 64, 128, 256, 512, 1]
    expected = sum(16 * before * after + after for before, after in pairwise(channels))
    assert parameters(network) == expected == 2764737


@pytest.mark.parametrize("levels", [0, 1, 2])
@pytest.mark.parametrize("size", [(16, 24), (17, 22), (19, 33)])
def test_a_translation_has_the_size_of_its_image_and_values_of_images(size, levels):
    images = torch.rand(2, 3, *size) * 2 - 1
    translated = Translator(width=4, levels=levels, residual_blocks=1)(images)
    assert translated.shape == images.shape
    assert translated.abs().max() <= 1


def test_a_translation_does_not_depend_on_the_others_of_its_batch():
    network = Translator(width=4, levels=2, residual_blocks=1)
    images = torch.rand(3, 3, 16, 24) * 2 - 1
    assert torch.allclose(network(images)[1:2], network(images[1:2]), atol=1e-6)


def test_every_convolution_of_the_generator_that_keeps_the_size_pads_by_reflection():
    with torch.device("meta"):
        network = Translator(width=4, levels=2, residual_blocks=2)
    assert {part.padding_mode for part in network.modules() if isinstance(part, nn.Conv2d)} == {"reflect"}
    assert sum(isinstance(part, InstanceNorm2d) for part in network.modules()) == 1 + 2 + 2 * 2 + 2


@pytest.mark.parametrize(
    "network", [Translator(width=16, levels=2, residual_blocks=2), PatchDiscriminator(width=16, layers=2)]
)
def test_every_convolution_starts_from_a_narrow_normal_distribution(network):
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            assert float(part.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
            assert not part.bias.any()


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_of_the_discriminator_sees_a_patch(layers, patch):
    network = PatchDiscriminator(width=4, layers=layers)
    for name, part in network.named_children():  # whose statistics see the whole image
        if isinstance(part, InstanceNorm2d):
            setattr(network, name, nn.Identity())
    images = torch.randn(1, 3, 160, 160, requires_grad=True)
    scores = network(images)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == patch


def test_the_first_and_the_last_layer_of_the_discriminator_have_no_normalisation():
    with torch.device("meta"):
        network = PatchDiscriminator(width=4, layers=3)
    kinds = [type(part) for part in network]
    assert kinds[:2] == [nn.Conv2d, nn.LeakyReLU]
    assert kinds.count(InstanceNorm2d) == 3
    assert kinds[-1] is ScoreConvolution
    assert [part.stride[0] for part in network if isinstance(part, nn.Conv2d)] == [2, 2, 2, 1, 1]


# ---------------------------------------------------------------- the image buffer


def numbered(*values):
    """Images of one value each."""
    return torch.stack([torch.full((3, 2, 4), float(value)) for value in values])


def shown(buffer, *values):
    return [int(value) for value in buffer(numbered(*values))[:, 0, 0, 0]]


def test_a_buffer_that_is_not_full_keeps_and_shows_what_comes():
    buffer = ImageBuffer(capacity=3, height=2, width=4)
    assert shown(buffer, 1, 2) == [1, 2]
    assert shown(buffer, 3) == [3]
    assert [int(image[0, 0, 0]) for image in buffer.kept] == [1, 2, 3]


def test_a_full_buffer_shows_the_newest_about_as_often_as_an_older_one_which_it_then_forgets():
    buffer = ImageBuffer(capacity=10, height=2, width=4)
    seen = [shown(buffer, number)[0] for number in range(1000)]
    assert seen[:10] == list(range(10))
    later = seen[10:]
    assert 440 < sum(number == index for index, number in enumerate(later, start=10)) < 550
    assert len(set(later)) == len(later), "an image came out twice"
    assert set(range(1000)) - set(later) == {int(image[0, 0, 0]) for image in buffer.kept}


def test_a_buffer_without_capacity_shows_what_comes():
    buffer = ImageBuffer(capacity=0, height=2, width=4)
    assert shown(buffer, 1, 2, 3) == [1, 2, 3]


def test_what_a_buffer_shows_carries_no_gradient_and_changes_with_nothing_later():
    buffer = ImageBuffer(capacity=1, height=2, width=4)
    images = numbered(1).requires_grad_()
    first = buffer(images)
    assert not first.requires_grad
    for number in range(2, 20):
        buffer(numbered(number))
    assert int(first[0, 0, 0, 0]) == 1


def test_a_buffer_goes_on_from_its_state_as_if_it_had_not_been_interrupted():
    whole = ImageBuffer(capacity=3, height=2, width=4)
    for number in range(7):
        whole(numbered(number))
    resumed = ImageBuffer(capacity=3, height=2, width=4)
    resumed.load_state_dict(whole.state_dict())
    following = []
    for buffer in (whole, resumed):
        torch.manual_seed(5)
        following.append([shown(buffer, number) for number in range(7, 30)])
    assert following[0] == following[1]
