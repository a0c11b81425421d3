import copy
import re

import pytest
import torch
from torchvision import models

from loopda.errors import DataError
from loopda.models.pspnet import PSPNet
from loopda.models.weights import load_backbone, official_name

PARTS = {"conv1": 0, "bn1": 1, "conv2": 2, "bn2": 3, "conv3": 4, "bn3": 5}


def network():
    return PSPNet(classes=3, blocks=(1, 2, 1, 1), width=4, head_channels=4)


def torchvision_name(name):
    """layer0.0 is the stem's convolution, layer0.1 its normalisation; the rest is called the same."""
    return name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.")


def separius_name(name):
    """The table of facts on SimCLRv2's conversion by Separius, from our name to theirs."""
    if name.startswith("layer0.0."):
        return f"net.0.0.{name.removeprefix('layer0.0.')}"
    if name.startswith("layer0.1."):
        return f"net.0.1.0.{name.removeprefix('layer0.1.')}"
    stage, block, part, rest = re.fullmatch(r"layer(\d)\.(\d+)\.(\w+)\.(.+)", name).groups()
    if part == "downsample":
        number, rest = rest.split(".", 1)
        kind = "shortcut" if number == "0" else "bn.0"
        return f"net.{stage}.blocks.{block}.projection.{kind}.{rest}"
    middle = "0." if part.startswith("bn") else ""
    return f"net.{stage}.blocks.{block}.net.{PARTS[part]}.{middle}{rest}"


def backbone(net):
    """Random weights of the trunk, by our names."""
    draws = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(value.shape, generator=draws) if value.is_floating_point() else value
        for name, value in net.state_dict().items()
        if re.match(r"layer\d", name)
    }


def without_counters(weights):
    return {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}


def assert_loaded(net, weights, heads_before):
    state = net.state_dict()
    for name, value in weights.items():
        assert torch.equal(state[name], value), name
    for name, value in heads_before.items():
        assert torch.equal(state[name], value), name


HEADS = {"fc.weight": torch.randn(10, 128), "fc.bias": torch.randn(10)}

LAYOUTS = {
    "torchvision": lambda weights: {torchvision_name(k): v for k, v in weights.items()} | HEADS,
    "ours": lambda weights: weights,
    "ours with heads": lambda weights: weights | {"final2.1.bias": torch.randn(19), "bn_pretrain.bias": torch.ones(8)},
    "nested like ProDA": lambda weights: {
        "state_dict": {torchvision_name(k): v for k, v in weights.items()} | HEADS,
        "epoch": 3,
    },
    "a checkpoint of this package": lambda weights: {"format": 1, "model": weights, "network": {"width": 4}},
    "DataParallel": lambda weights: {f"module.{torchvision_name(k)}": v for k, v in weights.items()},
    "caffe-style": lambda weights: (
        {f"Scale.{torchvision_name(k)}": v for k, v in without_counters(weights).items()}
        | {"Scale.layer5.conv2d_list.0.weight": torch.randn(21, 128, 3, 3)}
    ),
    "Separius": lambda weights: {
        "resnet": {separius_name(k): v for k, v in without_counters(weights).items()} | HEADS,
        "head": {"layers.0.weight": torch.randn(2)},
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_backbone_is_loaded_from(tmp_path, layout):
    net = network()
    weights = backbone(net)
    heads = {k: v.clone() for k, v in net.state_dict().items() if k.startswith("final")}
    torch.save(LAYOUTS[layout](weights), tmp_path / "weights.pth")
    load_backbone(net, tmp_path / "weights.pth")
    assert_loaded(net, weights, heads)


def test_every_tensor_of_torchvisions_resnet101_has_its_place_and_shape_in_ours():
    with torch.device("meta"):
        theirs = models.resnet101(weights=None).state_dict()
        ours = PSPNet(classes=19).state_dict()
    trunk = {name: tuple(value.shape) for name, value in ours.items() if re.match(r"layer\d", name)}
    mapped = {official_name(name): tuple(value.shape) for name, value in theirs.items() if "fc." not in name}
    assert mapped == trunk


def test_every_name_of_separius_conversion_becomes_ours():
    with torch.device("meta"):
        names = [name for name in PSPNet(classes=19).state_dict() if re.match(r"layer\d", name)]
    assert {separius_name("layer3.22.bn2.running_var"), separius_name("layer1.0.downsample.1.bias")} == {
        "net.3.blocks.22.net.3.0.running_var",
        "net.1.blocks.0.projection.bn.0.bias",
    }
    assert [official_name(separius_name(name)) for name in names] == names


def refused(tmp_path, content):
    """Load `content` into a network and return the fault's text; the network must be as it was."""
    net = network()
    before = copy.deepcopy(net.state_dict())
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(DataError) as fault:
        load_backbone(net, tmp_path / "weights.pth")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert "weights.pth" in str(fault.value)
    return str(fault.value)


def test_a_tensor_of_another_shape_is_listed_and_nothing_is_loaded(tmp_path):
    weights = backbone(network()) | {"layer2.1.conv2.weight": torch.randn(8, 8, 1, 1)}
    assert "layer2.1.conv2.weight is (8, 8, 1, 1), the network has (8, 8, 3, 3)" in refused(tmp_path, weights)


def test_every_missing_tensor_is_listed_and_nothing_is_loaded(tmp_path):
    weights = backbone(network())
    del weights["layer0.0.weight"], weights["layer4.0.bn3.running_mean"]
    text = refused(tmp_path, weights)
    assert "layer0.0.weight is missing" in text
    assert "layer4.0.bn3.running_mean is missing" in text


def test_weights_of_a_deeper_network_are_refused(tmp_path):
    weights = backbone(network()) | {"layer3.1.conv1.weight": torch.randn(2, 2, 1, 1)}
    assert "layer3.1.conv1.weight has no place in the network" in refused(tmp_path, weights)


def test_a_long_list_of_faults_is_cut_and_counted(tmp_path):
    text = refused(tmp_path, {"layer0.0.weight": torch.randn(4, 3, 7, 7)})
    assert text.count(" is missing") == 12
    wanted = sum(not name.endswith("num_batches_tracked") for name in backbone(network()))
    assert f"and {wanted - 1 - 12} more" in text


@pytest.mark.parametrize(
    "content",
    [[1, 2], torch.zeros(2), {"a": 1}, {"state_dict": [1]}, {1: torch.zeros(2)}],
    ids=["list", "tensor", "numbers", "nested list", "numbered"],
)
def test_what_is_not_a_dictionary_of_tensors_is_refused(tmp_path, content):
    assert "not a dictionary of tensors" in refused(tmp_path, content)


def test_an_absent_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: no such weights file"):
        load_backbone(network(), tmp_path / "absent.pth")
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match=r"damaged\.pth: cannot be read"):
        load_backbone(network(), tmp_path / "damaged.pth")
