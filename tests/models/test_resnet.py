import pytest
import torch
from torch import nn
from torchvision.models import resnet

from loopda.models.pspnet import PSPNet
from loopda.models.resnet import Bottleneck


def network(**changes):
    return PSPNet(**{"classes": 5, "blocks": (2, 2, 2, 2), "width": 4, "head_channels": 6} | changes)


def test_the_stem_is_a_7x7_of_stride_2_and_a_pooling_that_rounds_up():
    convolution, _, _, pooling = network().layer0
    assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((7, 7), (2, 2), (3, 3))
    assert convolution.bias is None
    assert (pooling.kernel_size, pooling.stride, pooling.padding, pooling.ceil_mode) == (3, 2, 1, True)


@pytest.mark.parametrize(("stride_in", "plain"), [("conv1", "conv2"), ("conv2", "conv1")])
def test_the_stride_of_the_second_layer_sits_on_the_convolution_that_is_asked_for(stride_in, plain):
    trunk = network(stride_in=stride_in)
    strides = {
        name: part.stride[0]
        for name, part in trunk.named_modules()
        if isinstance(part, nn.Conv2d) and name.startswith("layer") and part.stride != (1, 1)
    }
    assert strides == {"layer0.0": 2, f"layer2.0.{stride_in}": 2, "layer2.0.downsample.0": 2}
    assert getattr(trunk.layer2[0], plain).stride == (1, 1)


def test_every_block_of_the_third_and_fourth_layer_is_dilated_by_two_and_four():
    trunk = network()
    for layer, dilation in (("layer1", 1), ("layer2", 1), ("layer3", 2), ("layer4", 4)):
        for block in getattr(trunk, layer):
            assert (block.conv2.dilation, block.conv2.padding) == ((dilation,) * 2, (dilation,) * 2)


def test_weights_that_are_not_loaded_are_small_normal_numbers_and_normalisations_the_identity():
    torch.manual_seed(0)
    trunk = network(width=16, initialisation="normal")
    convolutions = [part for part in trunk.modules() if isinstance(part, nn.Conv2d)]
    weights = torch.cat([part.weight.detach().flatten() for part in convolutions])
    assert float(weights.std()) == pytest.approx(0.01, rel=0.02)
    assert float(weights.mean()) == pytest.approx(0, abs=1e-4)
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.weight.eq(1).all()
            assert part.bias.eq(0).all()


def test_training_from_scratch_starts_with_kaimings_variance():
    torch.manual_seed(0)
    convolution = network(width=16, initialisation="kaiming").layer4[0].conv2
    assert convolution.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_block_with_the_stride_in_its_second_convolution_is_torchvisions(dilation):
    torch.manual_seed(0)
    stride = 2 if dilation == 1 else 1
    projection = nn.Sequential(nn.Conv2d(6, 16, 1, stride, bias=False), nn.BatchNorm2d(16))
    theirs = resnet.Bottleneck(6, 4, stride=stride, dilation=dilation, downsample=projection).train()
    ours = Bottleneck(6, 4, stride=stride, dilation=dilation, stride_in="conv2", projected=True).train()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 8, 8)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
