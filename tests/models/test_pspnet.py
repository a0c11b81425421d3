import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from loopda.benchmark import plain
from loopda.models.pspnet import PSPNet, PyramidPooling

NORMALISATION = ("weight", "bias", "running_mean", "running_var")


@functools.cache
def resnet101(bn_pretrain):
    with torch.device("meta"):
        return PSPNet(
            classes=19,
            blocks=(3, 4, 23, 3),
            width=64,
            head_channels=512,
            bn_pretrain=bn_pretrain,
            freeze_affine=True,
        )


def small(**changes):
    arguments = {"classes": 5, "blocks": (1, 1, 1, 1), "width": 4, "head_channels": 6} | changes
    return PSPNet(**arguments)


def official_layout(bn_pretrain):
    """Names and shapes of the official evaluation code's state dict (its model/pspnet.py), written out."""
    layout = {}

    def normalisation(name, channels):
        for part in NORMALISATION:
            layout[f"{name}.{part}"] = (channels,)
        layout[f"{name}.num_batches_tracked"] = ()

    layout["layer0.0.weight"] = (64, 3, 7, 7)
    normalisation("layer0.1", 64)
    channels = 64
    for stage, (blocks, planes) in enumerate([(3, 64), (4, 128), (23, 256), (3, 512)], start=1):
        for i in range(blocks):
            block = f"layer{stage}.{i}"
            layout[f"{block}.conv1.weight"] = (planes, channels, 1, 1)
            layout[f"{block}.conv2.weight"] = (planes, planes, 3, 3)
            layout[f"{block}.conv3.weight"] = (4 * planes, planes, 1, 1)
            normalisation(f"{block}.bn1", planes)
            normalisation(f"{block}.bn2", planes)
            normalisation(f"{block}.bn3", 4 * planes)
            if i == 0:
                layout[f"{block}.downsample.0.weight"] = (4 * planes, channels, 1, 1)
                normalisation(f"{block}.downsample.1", 4 * planes)
            channels = 4 * planes
    if bn_pretrain:
        normalisation("bn_pretrain", 2048)
    layout |= {"final1.0.weight": (512, 1024, 3, 3), "final1.0.bias": (512,)}
    normalisation("final1.1", 512)
    layout |= {"final1.3.weight": (19, 512, 1, 1), "final1.3.bias": (19,)}
    for stage in range(4):
        layout[f"final2.0.stages.{stage}.1.weight"] = (512, 2048, 1, 1)
    layout["final2.0.bottleneck.0.weight"] = (512, 4096, 3, 3)
    normalisation("final2.0.bottleneck.1", 512)
    layout |= {"final2.1.weight": (19, 512, 1, 1), "final2.1.bias": (19,)}
    return layout


# the layout


@pytest.mark.parametrize(("bn_pretrain", "entries"), [(False, 645), (True, 650)])
def test_names_and_shapes_of_the_weights_are_those_of_the_official_code(bn_pretrain, entries):
    found = {name: tuple(value.shape) for name, value in resnet101(bn_pretrain).state_dict().items()}
    assert len(found) == entries
    assert found == official_layout(bn_pretrain)


def test_the_number_of_trainable_and_frozen_values_is_that_of_the_official_code():
    network = resnet101(True)
    trainable = [value for value in network.parameters() if value.requires_grad]
    frozen = [value for value in network.parameters() if not value.requires_grad]
    assert (len(trainable), sum(value.numel() for value in trainable)) == (121, 70_208_230)
    assert (len(frozen), sum(value.numel() for value in frozen)) == (208, 105_344)
    assert sum(value.numel() for value in network.state_dict().values()) == 70_425_169


def test_only_the_heads_normalisations_are_trainable_when_the_affine_parts_are_frozen():
    parts = [name for name, part in resnet101(True).named_modules() if isinstance(part, nn.BatchNorm2d)]
    parameters = dict(resnet101(True).named_parameters())
    trainable = {name for name in parts if parameters[f"{name}.weight"].requires_grad}
    assert trainable == {"bn_pretrain", "final1.1", "final2.0.bottleneck.1"}


def test_a_network_from_scratch_trains_every_parameter():
    assert all(value.requires_grad for value in small(freeze_affine=False).parameters())


def test_each_trainable_parameter_has_one_of_the_two_learning_rates():
    network = resnet101(True)
    names = {id(value): name for name, value in network.named_parameters()}
    base = [names[id(value)] for value in network.backbone_parameters()]
    heads = [names[id(value)] for value in network.head_parameters()]
    trainable = [name for name, value in network.named_parameters() if value.requires_grad]
    assert sorted(base + heads) == sorted(trainable)
    assert {name.split(".")[0] for name in base} == {"layer0", "layer1", "layer2", "layer3", "layer4"}
    assert {name.split(".")[0] for name in heads} == {"final1", "final2", "bn_pretrain"}


# sizes


@pytest.mark.parametrize(
    ("size", "cells"),
    [
        ((512, 496), (65, 63)),
        ((540, 960), (68, 121)),
        ((512, 1024), (65, 129)),
        ((512, 960), (65, 121)),
        ((256, 512), (33, 65)),
        ((8, 16), (2, 3)),
    ],
)
def test_the_output_grid_has_an_eighth_of_the_pixels_and_one_more(size, cells):
    with torch.device("meta"):
        outputs = small()(torch.empty(2, 3, *size))
    assert tuple(outputs.shallow.shape) == (2, 32, *cells)
    assert tuple(outputs.aux.shape) == tuple(outputs.logits.shape) == (2, 5, *cells)
    assert tuple(outputs.features.shape) == (2, 128, *cells)


@pytest.mark.parametrize("stride_in", ["conv1", "conv2"])
def test_the_output_stride_is_eight_or_four(stride_in):
    for output_stride, cells in ((8, (5, 9)), (4, (8, 16))):
        with torch.device("meta"):
            network = small(stride_in=stride_in, output_stride=output_stride)
            outputs = network(torch.empty(2, 3, 32, 64))
        assert tuple(outputs.logits.shape[2:]) == cells


def test_the_channels_of_the_layers_are_those_the_decoders_are_told():
    network = small(width=4)
    assert network.channels == (16, 32, 64, 128)


# the heads


def linear_part(head, x):
    return head(x) - head(torch.zeros_like(x))


@pytest.mark.parametrize("head", ["final1", "final2"])
def test_there_is_no_nonlinearity_in_a_head(head):
    network = small().eval()
    for name, value in network.state_dict().items():
        if "running_mean" in name:
            value.normal_()
    part = getattr(network, head)
    assert not [layer for layer in part.modules() if isinstance(layer, nn.ReLU)]
    channels = {"final1": network.channels[2], "final2": network.channels[3]}[head]
    first, second = torch.randn(2, 1, channels, 4, 5).unbind()
    together = linear_part(part, first - 3 * second)
    apart = linear_part(part, first) - 3 * linear_part(part, second)
    assert together.abs().max() > 0
    assert torch.allclose(together, apart, atol=1e-4 * float(apart.detach().abs().max()))


def averages(features, bins):
    """Means over bins x bins regions, whose edges are floor and ceil of equal divisions, as in the paper."""
    _, _, height, width = features.shape
    rows = []
    for i in range(bins):
        top, bottom = i * height // bins, -(-(i + 1) * height // bins)
        row = []
        for j in range(bins):
            left, right = j * width // bins, -(-(j + 1) * width // bins)
            row.append(features[:, :, top:bottom, left:right].mean(dim=(2, 3)))
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)


@pytest.mark.parametrize("size", [(7, 9), (1, 6), (12, 5)])
def test_the_pyramid_has_1_4_9_and_36_regions_before_the_features_themselves(size):
    pooling = PyramidPooling(3, 2, 0.0).double().eval()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    maps = []
    for stage, bins in zip(pooling.stages, (1, 2, 3, 6), strict=True):
        region = torch.einsum("oc,nchw->nohw", stage[1].weight[:, :, 0, 0], averages(features, bins))
        maps.append(functional.interpolate(region, size=size, mode="bilinear", align_corners=True))
    expected = pooling.bottleneck(torch.cat([*maps, features], dim=1))
    assert torch.allclose(pooling(features), expected, rtol=1e-10, atol=1e-12)


def test_convolving_the_regions_has_the_gradients_of_convolving_their_upsampled_maps():
    pooling = PyramidPooling(3, 2, 0.0).double()
    features = torch.randn(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    wanted = [features, *pooling.parameters()]
    for way in (pooling, functools.partial(plain.pyramid, pooling)):
        draws = torch.Generator().manual_seed(0)
        weights = torch.rand(2, 2, 7, 9, generator=draws, dtype=torch.float64)
        gradients = torch.autograd.grad((way(features) * weights).sum(), wanted)
        if way is pooling:
            found = gradients
    for one, other in zip(found, gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_extra_normalisation_of_the_student_is_applied_to_what_the_head_and_the_decoders_see():
    network = small(bn_pretrain=True).train()
    features = network(torch.randn(2, 3, 16, 16)).features
    assert torch.allclose(features.mean(dim=(0, 2, 3)), torch.zeros(128), atol=1e-5)
    without = small(bn_pretrain=False).train()(torch.randn(2, 3, 16, 16)).features
    assert float(without.detach().min()) >= 0  # there the last layer ends with a ReLU


def test_the_heads_read_the_third_and_the_fourth_layer():
    network = small(dropout=0.0).train()
    images = torch.randn(2, 3, 16, 16)
    outputs = network(images)
    shallow = network.layer2(network.layer1(network.layer0(images)))
    assert torch.allclose(outputs.shallow, shallow)
    assert torch.allclose(outputs.aux, network.final1(network.layer3(shallow)), atol=1e-5)
    assert torch.allclose(outputs.features, network.layer4(network.layer3(shallow)), atol=1e-5)
    assert torch.allclose(outputs.logits, network.final2(outputs.features), atol=1e-5)


def test_without_the_auxiliary_head_everything_else_is_the_same():
    network = small(dropout=0.0).eval()
    images = torch.randn(2, 3, 16, 16)
    with_it, without = network(images), network(images, aux=False)
    assert without.aux is None
    for name in ("shallow", "logits", "features"):
        assert torch.equal(getattr(with_it, name), getattr(without, name))


def test_dropout_in_both_heads_is_that_of_the_section():
    network = small(dropout=0.25)
    rates = {name: part.p for name, part in network.named_modules() if isinstance(part, nn.Dropout2d)}
    assert rates == {"final1.2": 0.25, "final2.0.bottleneck.2": 0.25}
