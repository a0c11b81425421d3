import copy
import math
import re

import pytest
import torch
from checkpoints import Payload, small_network
from torchvision import models

from loopda.errors import DataError
from loopda.exchange.backbone import load_backbone, new_segmenter
from loopda.exchange.loading import read_weights
from loopda.labels.classes import CITYSCAPES
from loopda.models.daformer import DAFormerNetwork
from loopda.models.deeplab import DeepLabV2
from loopda.models.pspnet import PSPNet
from loopda.weights.layouts import own_name

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
    "a checkpoint of this package": lambda weights: {
        "format": 1,
        "model": weights,
        "network": {"normalisation": "unit", "stride_in": "conv1"},
    },
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
    load_backbone(net, read_weights(tmp_path / "weights.pth"))
    assert_loaded(net, weights, heads)


def test_every_tensor_of_torchvisions_resnet101_has_its_place_and_shape_in_ours():
    with torch.device("meta"):
        theirs = models.resnet101(weights=None).state_dict()
        ours = PSPNet(classes=19).state_dict()
    trunk = {name: tuple(value.shape) for name, value in ours.items() if re.match(r"layer\d", name)}
    mapped = {own_name(name): tuple(value.shape) for name, value in theirs.items() if "fc." not in name}
    assert mapped == trunk


def test_every_name_of_separius_conversion_becomes_ours():
    with torch.device("meta"):
        names = [name for name in PSPNet(classes=19).state_dict() if re.match(r"layer\d", name)]
    assert {separius_name("layer3.22.bn2.running_var"), separius_name("layer1.0.downsample.1.bias")} == {
        "net.3.blocks.22.net.3.0.running_var",
        "net.1.blocks.0.projection.bn.0.bias",
    }
    assert [own_name(separius_name(name)) for name in names] == names


def refused(tmp_path, content):
    """Load `content` into a network and return the fault's text; the network must be as it was."""
    net = network()
    before = copy.deepcopy(net.state_dict())
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(DataError) as fault:
        load_backbone(net, read_weights(tmp_path / "weights.pth"))
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


def test_many_faults_of_a_kind_are_counted_and_some_are_shown(tmp_path):
    text = refused(tmp_path, {"layer0.0.weight": torch.randn(4, 3, 7, 7)})
    wanted = sum(not name.endswith("num_batches_tracked") for name in backbone(network()))
    assert text.count(" is missing\n") == 5
    assert f"and {wanted - 6} more are missing\n{wanted - 1} faults in all" in text


def test_numbers_that_are_not_finite_are_refused_by_their_name(tmp_path):
    weights = backbone(network())
    weights["layer2.0.bn1.weight"][1] = math.inf
    assert "layer2.0.bn1.weight holds numbers that are not finite" in refused(tmp_path, weights)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.fault(16, "code in published weights is not run")
def test_weights_that_carry_code_are_refused_and_the_code_is_not_run(tmp_path, zipped):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    torch.save({**backbone(network()), "extra": Payload(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"weights\.pth: cannot be read"):
        read_weights(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the payload itself is a working one
    assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [[1, 2], torch.zeros(2), {"a": 1}, {"state_dict": [1]}, {1: torch.zeros(2)}],
    ids=["list", "tensor", "numbers", "nested list", "numbered"],
)
def test_what_is_not_a_dictionary_of_tensors_is_refused(tmp_path, content):
    assert "not a dictionary of tensors" in refused(tmp_path, content)


def test_an_absent_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: no such weights file"):
        read_weights(tmp_path / "absent.pth")
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match=r"damaged\.pth: cannot be read"):
        read_weights(tmp_path / "damaged.pth")


# the exact public files, of the published sizes; every tensor is one number, which takes no room in the file


def published(depth):
    """torchvision's names and shapes of a ResNet."""
    with torch.device("meta"):
        layout = {50: models.resnet50, 101: models.resnet101}[depth](weights=None).state_dict()
    numbers = torch.linspace(0.1, 0.9, len(layout))
    return {
        name: torch.tensor(9) if value.ndim == 0 else number.reshape((1,) * value.ndim).expand(value.shape)
        for number, (name, value) in zip(numbers, layout.items(), strict=True)
    }


def separius_file():
    weights = {name: value for name, value in published(101).items() if not name.startswith("fc.")}
    resnet = {separius_name(own_name(name)): value for name, value in weights.items()}
    resnet |= {name: value for name, value in published(101).items() if name.startswith("fc.")}
    assert (len(resnet), sum(value.numel() for value in resnet.values())) == (626, 44_654_608)
    return {"resnet": resnet, "head": {"layers.0.weight": torch.zeros(2)}}


def caffe_file():
    """AdaptSegNet's and ADVENT's initialisation, older than num_batches_tracked, with a head for 21 classes."""
    trunk = {name: value for name, value in without_counters(published(101)).items() if not name.startswith("fc.")}
    heads = {}
    for branch in range(4):
        heads[f"layer5.conv2d_list.{branch}.weight"] = torch.zeros(1).reshape(1, 1, 1, 1).expand(21, 2048, 3, 3)
        heads[f"layer5.conv2d_list.{branch}.bias"] = torch.zeros(21)
    return {f"Scale.{name}": value for name, value in (trunk | heads).items()}


def advent_file():
    trunk = {name: value for name, value in published(101).items() if not name.startswith("fc.")}
    return trunk | {
        f"layer{layer}.conv2d_list.{branch}.bias": torch.zeros(19) for layer in (5, 6) for branch in range(4)
    }


FILES = {
    "torchvision ResNet-50": (lambda: published(50), 50, "imagenet", "conv2"),
    "torchvision ResNet-101": (lambda: published(101), 101, "imagenet", "conv2"),
    "an ImageNet training": (lambda: {"state_dict": published(50), "arch": "resnet50"}, 50, "imagenet", "conv2"),
    "SimCLRv2, ProDA": (lambda: {"state_dict": published(101)}, 101, "unit", "conv2"),
    "SimCLRv2, Separius": (separius_file, 101, "unit", "conv2"),
    "caffe-style": (caffe_file, 101, "caffe-255", "conv1"),
    "ADVENT": (advent_file, 101, "caffe-255", "conv1"),
}


@pytest.fixture(scope="module")
def resnets():
    """Networks of the published sizes, built once: a file fills every tensor of a trunk anew."""
    return {50: PSPNet(classes=2, blocks=(3, 4, 6, 3), head_channels=4), 101: DeepLabV2(classes=2)}


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_of_a_public_backbone_arrives(tmp_path, resnets, name):
    content, depth, normalisation, stride_in = FILES[name]
    torch.save(content(), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").stat().st_size < 2_000_000
    net = resnets[depth]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(-1)
    weights = read_weights(tmp_path / "weights.pth")
    load_backbone(net, weights)
    state = {own_name(key): value for key, value in net.state_dict().items()}
    expected = {own_name(key): value for key, value in published(depth).items() if not key.startswith("fc.")}
    for key, value in expected.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(state[key], value), key
    heads = [value for key, value in state.items() if re.match(r"final\d\.\d+\.(weight|bias)|layer[56]", key)]
    assert heads
    assert all(value.eq(-1).all() for value in heads)
    assert (weights.layout.normalisations[0], weights.layout.stride_in) == (normalisation, stride_in)


# what the network then sees


def section(**changes):
    imported = {"blocks": (1, 2, 1, 1), "freeze_affine": True, "initialisation": "normal", "statistics": "shared"}
    return small_network(**imported | changes)


@pytest.mark.parametrize(
    ("layout", "asked", "expected"),
    [
        ("torchvision", "caffe", "imagenet"),
        ("torchvision", "imagenet", "imagenet"),
        ("nested like ProDA", "caffe", "unit"),
        ("nested like ProDA", "caffe-rgb", "caffe-rgb"),  # LoopDA's student sees these weights so
        ("Separius", "caffe-rgb", "caffe-rgb"),
        ("caffe-style", "caffe", "caffe"),  # LoopDA and TridentAdapt divide by 128 besides
        ("caffe-style", "unit", "caffe-255"),
        ("ours", "unit", "caffe"),
        ("ours with heads", "unit", "caffe-rgb"),
        ("a checkpoint of this package", "caffe", "unit"),
    ],
)
def test_the_input_of_a_new_network_is_what_its_imported_backbone_expects(tmp_path, layout, asked, expected):
    weights = backbone(network())
    torch.save(LAYOUTS[layout](weights), tmp_path / "weights.pth")
    said = []
    segmenter = new_segmenter(
        section(normalisation=asked), CITYSCAPES, tmp_path / "weights.pth", bn_pretrain=True, say=said.append
    )
    assert segmenter.section.normalisation == expected
    assert any(f"expect the input {expected}: it replaces {asked}" in line for line in said) == (asked != expected)
    assert torch.equal(segmenter.network.layer3[0].conv2.weight, weights["layer3.0.conv2.weight"])
    assert segmenter.bn_pretrain


@pytest.mark.parametrize(("stride_in", "notes"), [("conv1", 1), ("conv2", 0)])
def test_a_stride_in_another_convolution_than_the_weights_was_trained_with_is_said(tmp_path, stride_in, notes):
    torch.save(LAYOUTS["torchvision"](backbone(network())), tmp_path / "weights.pth")
    said = []
    new_segmenter(section(stride_in=stride_in), CITYSCAPES, tmp_path / "weights.pth", say=said.append)
    assert sum("stride_in conv2, network.stride_in is conv1" in line for line in said) == notes


def test_without_weights_a_new_network_is_the_section_s_own():
    torch.manual_seed(4)
    first = new_segmenter(section(), CITYSCAPES, None, say=lambda _: None)
    assert first.section == section()
    torch.manual_seed(5)
    second = new_segmenter(section(), CITYSCAPES, None, say=lambda _: None)
    assert not torch.equal(first.network.layer1[0].conv1.weight, second.network.layer1[0].conv1.weight)


def test_what_is_of_no_known_layout_is_refused_with_the_names_it_has(tmp_path):
    torch.save({"encoder.patch_embeddings.0.proj.weight": torch.zeros(3)}, tmp_path / "mit_b5.pth")
    with pytest.raises(DataError, match=r"encoder\.patch_embeddings\.0\.proj\.weight \.\.\.\) are of no known layout"):
        read_weights(tmp_path / "mit_b5.pth")


# wrappers, and several networks in a file

WRAPPED = {
    "torch.compile": lambda weights: {f"_orig_mod.{name}": value for name, value in weights.items()},
    "both": lambda weights: {f"module._orig_mod.{name}": value for name, value in weights.items()},
    "both, the other way round": lambda weights: {f"_orig_mod.module.{name}": value for name, value in weights.items()},
    "compiled parts": lambda weights: {name.replace("layer1.", "layer1._orig_mod."): v for name, v in weights.items()},
    "FSDP": lambda weights: {f"_fsdp_wrapped_module.{name}": value for name, value in weights.items()},
    "an average": lambda weights: {"n_averaged": torch.tensor(3)} | {f"module.{n}": v for n, v in weights.items()},
    "a module of a module": lambda weights: {f"net.backbone.{name}": value for name, value in weights.items()},
    "Lightning": lambda weights: {
        "state_dict": {f"model.{name}": value for name, value in weights.items()} | {"loss.weight": torch.ones(3)},
        "pytorch-lightning_version": "2.0",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
    },
    "a training": lambda weights: {
        "epoch": 3,
        "model_state_dict": {f"module.{name}": value for name, value in weights.items()},
        "optimizer_state_dict": {"state": {}, "param_groups": []},
    },
    "ProDA's training": lambda weights: {"ResNet101": {"model_state": weights}, "iter": 9},
    "an average beside": lambda weights: {
        "model": weights,
        "model_ema": {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()},
    },
    "averages alone": lambda weights: {"state_dict_ema": weights},
    "teacher and student": lambda weights: (
        {f"teacher.{n}": v + 1 if v.is_floating_point() else v for n, v in weights.items()}
        | {f"student.{name}": value for name, value in weights.items()}
    ),
    "a discriminator beside": lambda weights: {
        "net": weights,
        "net_D": {f"conv{n}.weight": torch.ones(2, 2, 4, 4) for n in (1, 2, 3)},
    },
}


@pytest.mark.parametrize("names", [lambda name: name, torchvision_name], ids=["ours", "torchvision"])
@pytest.mark.parametrize("wrapper", WRAPPED)
@pytest.mark.fault(85, "the network in it is taken, and the log says whence")
def test_a_network_is_found_whatever_it_is_wrapped_in(tmp_path, wrapper, names):
    net = network()
    weights = backbone(net)
    heads = {k: v.clone() for k, v in net.state_dict().items() if k.startswith("final")}
    torch.save(WRAPPED[wrapper]({names(name): value for name, value in weights.items()}), tmp_path / "weights.pth")
    found = read_weights(tmp_path / "weights.pth")
    load_backbone(net, found)
    assert_loaded(net, weights, heads)
    if wrapper in ("an average beside", "teacher and student"):
        assert any("other networks in the file are left" in note for note in found.notes)


def test_trainings_that_keep_their_optimiser_are_no_conversions_of_simclr(tmp_path):
    content = {"state_dict": {torchvision_name(k): v for k, v in backbone(network()).items()}, "optimizer": {"lr": 1}}
    torch.save(content, tmp_path / "weights.pth")
    assert read_weights(tmp_path / "weights.pth").layout.normalisations == ("imagenet",)


def test_two_networks_that_nothing_tells_apart_are_refused_by_their_names(tmp_path):
    weights = backbone(network())
    text = refused(tmp_path, {"source": weights, "target": weights})
    assert "holds several networks ('source', 'target')" in text


def test_two_tensors_of_one_name_are_refused(tmp_path):
    weights = backbone(network())
    text = refused(tmp_path, weights | {f"module.{name}": value for name, value in weights.items()})
    assert "several tensors have one name" in text


OTHERS = {
    "an optimiser": (
        {"state": {0: {"step": torch.tensor(1)}}, "param_groups": [{"lr": 0.1}]},
        "the state of an optimiser",
    ),
    "a training of ours": (
        {"guard": {"steps": 1}, "segmenter": {"layer0.0.weight": torch.zeros(1)}},
        "the progress of an unfinished training",
    ),
    "the loops": ({"format": 1, "loops": {"a": torch.zeros(1)}}, "the decoders of LoopDA's loops"),
    "generators": (
        {"format": 1, "generators": {"night": {"a": torch.zeros(1)}}},
        "the generators of the stage translate",
    ),
    "VGG": (
        {"features.0.weight": torch.zeros(1), "classifier.0.weight": torch.zeros(1)},
        "loops.decoders.lpips_weights",
    ),
    "DRN": ({f"layer{n}.0.conv1.weight": torch.zeros(1) for n in range(1, 9)}, "a dilated residual network (DRN)"),
    "DANNet": (
        {f"{name}.weight": torch.zeros(1) for name in ("conv1", "conv2", "conv3", "layer1.0.conv1", "layer4.0.conv1")},
        "a ResNet whose stem is three convolutions",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.fault(86, "named for what it is")
def test_other_files_with_tensors_are_named_for_what_they_are(tmp_path, name):
    content, expected = OTHERS[name]
    assert expected in refused(tmp_path, content)


# weights of another network than the configured one: one line with the cause and the keys


def test_a_network_of_other_depth_is_named_with_the_keys_that_fit_it(tmp_path):
    with torch.device("meta"):
        net = PSPNet(classes=2, blocks=(3, 4, 23, 3), head_channels=4)
    torch.save(published(50), tmp_path / "weights.pth")
    with pytest.raises(DataError) as raised:
        load_backbone(net, read_weights(tmp_path / "weights.pth"))
    first, *lines = str(raised.value).splitlines()
    assert "the file is of ResNet-50, blocks [3, 4, 6, 3] and width 64, the section network of ResNet-101" in first
    assert "set network.blocks to [3, 4, 6, 3] and network.width to 64" in first
    assert len(lines) <= 8


def test_a_resnet_of_basic_blocks_is_called_that(tmp_path):
    with torch.device("meta"):
        layout = models.resnet34(weights=None).state_dict()
    content = {name: torch.zeros(()).expand(value.shape) for name, value in layout.items()}
    assert "the file is of a ResNet of basic blocks, such as ResNet-18 or 34" in refused(tmp_path, content)


@pytest.mark.parametrize("own", ["mit_b0", "pspnet"])
def test_a_transformer_is_named_with_the_key_of_its_encoder(tmp_path, own):
    theirs = DAFormerNetwork(classes=2, encoder="mit_b1", head_channels=4).state_dict()
    mit = {name.removeprefix("backbone."): value for name, value in theirs.items() if name.startswith("backbone.")}
    torch.save({name: torch.zeros(1).expand(value.shape) for name, value in mit.items()}, tmp_path / "weights.pth")
    net = network() if own == "pspnet" else DAFormerNetwork(classes=2, encoder=own, head_channels=4)
    with pytest.raises(DataError, match="the file is of the encoder mit_b1, .* set network.name daformer and"):
        load_backbone(net, read_weights(tmp_path / "weights.pth"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_loaded_in_float32(tmp_path, dtype):
    net = network()
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in backbone(net).items()}
    torch.save(weights, tmp_path / "weights.pth")
    load_backbone(net, read_weights(tmp_path / "weights.pth"))
    assert net.layer1[0].conv2.weight.dtype == torch.float32
    assert torch.equal(net.layer1[0].conv2.weight, weights["layer1.0.conv2.weight"].float())


@pytest.mark.parametrize("kind", ["whole numbers", "complex numbers", "without values"])
@pytest.mark.fault(87, "refused: numbers are never taken for others")
def test_weights_that_are_no_plain_numbers_are_refused(tmp_path, kind):
    weights = backbone(network())
    value = weights["layer1.0.conv2.weight"]
    weights["layer1.0.conv2.weight"] = {
        "whole numbers": lambda: (value * 10).to(torch.int8),
        "complex numbers": lambda: value.to(torch.complex64),
        "without values": lambda: value.to("meta"),
    }[kind]()
    assert "layer1.0.conv2.weight holds torch." in refused(tmp_path, weights)
