"""Whole networks that others trained: the same logits as a plain computation from the same tensors."""

import functools
import math

import pytest
import torch
from torch.nn import functional

from loopda.errors import ConfigError, DataError
from loopda.exchange.foreign import foreign_segmenter, summed_branches
from loopda.exchange.loading import read_weights
from loopda.labels.classes import CITYSCAPES, ClassList
from loopda.models.checkpoint import load_segmenter, save_segmenter
from loopda.models.segmenter import Segmenter

RESNET101 = (3, 4, 23, 3)
FEW = ClassList(
    names=("a", "b", "c"), colours=((0, 0, 1), (0, 1, 0), (1, 0, 0)), dynamic=frozenset(), ssc=frozenset(), encodings={}
)
MEAN = torch.tensor([104.00698793, 116.66876762, 122.67891434]).reshape(1, 3, 1, 1)  # of blue, green, red

# layouts, written out from the published files: name -> shape


def normalisation(name, channels, counters=True):
    shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | ({f"{name}.num_batches_tracked": ()} if counters else {})


def trunk_layout(convolution, first, blocks, width, counters=True):
    """`convolution` and `first` are the names of the stem's convolution and normalisation."""
    layout = {f"{convolution}.weight": (width, 3, 7, 7), **normalisation(first, width, counters)}
    channels = width
    for layer, count in enumerate(blocks, start=1):
        planes = width * 2 ** (layer - 1)
        for index in range(count):
            block = f"layer{layer}.{index}"
            layout[f"{block}.conv1.weight"] = (planes, channels, 1, 1)
            layout[f"{block}.conv2.weight"] = (planes, planes, 3, 3)
            layout[f"{block}.conv3.weight"] = (4 * planes, planes, 1, 1)
            for number, size in ((1, planes), (2, planes), (3, 4 * planes)):
                layout |= normalisation(f"{block}.bn{number}", size, counters)
            if index == 0:
                layout[f"{block}.downsample.0.weight"] = (4 * planes, channels, 1, 1)
                layout |= normalisation(f"{block}.downsample.1", 4 * planes, counters)
            channels = 4 * planes
    return layout


def official_layout(*, student, blocks=RESNET101, width=64, head=512, classes=19):
    """LoopDA's student.pth: 645 entries, 650 with bn_pretrain."""
    layout = trunk_layout("layer0.0", "layer0.1", blocks, width)
    if student:
        layout |= normalisation("bn_pretrain", 32 * width)
    layout |= {"final1.0.weight": (head, 16 * width, 3, 3), "final1.0.bias": (head,), **normalisation("final1.1", head)}
    layout |= {"final1.3.weight": (classes, head, 1, 1), "final1.3.bias": (classes,)}
    layout |= {f"final2.0.stages.{stage}.1.weight": (head, 32 * width, 1, 1) for stage in range(4)}
    layout["final2.0.bottleneck.0.weight"] = (head, 32 * width + 4 * head, 3, 3)
    layout |= normalisation("final2.0.bottleneck.1", head)
    return layout | {"final2.1.weight": (classes, head, 1, 1), "final2.1.bias": (classes,)}


def deeplab_layout(*, counters, blocks=RESNET101, width=64, classes=19):
    """ADVENT's 640 entries; AdaptSegNet's files are older than num_batches_tracked, and have 536."""
    layout = trunk_layout("conv1", "bn1", blocks, width, counters)
    for layer, channels in ((5, 16 * width), (6, 32 * width)):
        for branch in range(4):
            layout[f"layer{layer}.conv2d_list.{branch}.weight"] = (classes, channels, 3, 3)
            layout[f"layer{layer}.conv2d_list.{branch}.bias"] = (classes,)
    return layout


def drawn(layout, seed=0):
    """Random tensors that keep the activations of a deep network near one."""
    draws = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in layout.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            tensors[name] = 0.5 + torch.rand(shape, generator=draws)
        elif len(shape) == 1:
            tensors[name] = 0.3 * torch.randn(shape, generator=draws)
        else:
            tensors[name] = torch.randn(shape, generator=draws) * math.sqrt(1.5 / math.prod(shape[1:]))
        if name.endswith("bn3.weight"):
            tensors[name] *= 0.3  # 33 blocks are added up
    return tensors


# the plain computation


def batch_norm(x, state, name):
    keys = ("running_mean", "running_var", "weight", "bias")
    return functional.batch_norm(x, *(state[f"{name}.{key}"] for key in keys), training=False, eps=1e-5)


def bottleneck(x, state, name, stride, dilation):
    out = functional.conv2d(x, state[f"{name}.conv1.weight"], stride=stride)
    out = functional.relu(batch_norm(out, state, f"{name}.bn1"))
    out = functional.conv2d(out, state[f"{name}.conv2.weight"], padding=dilation, dilation=dilation)
    out = functional.relu(batch_norm(out, state, f"{name}.bn2"))
    out = batch_norm(functional.conv2d(out, state[f"{name}.conv3.weight"]), state, f"{name}.bn3")
    if f"{name}.downsample.0.weight" in state:
        x = functional.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
        x = batch_norm(x, state, f"{name}.downsample.1")
    return functional.relu(out + x)


def trunk(x, state, convolution, first):
    """The features after layer3 and after layer4."""
    x = functional.conv2d(x, state[f"{convolution}.weight"], stride=2, padding=3)
    x = functional.relu(batch_norm(x, state, first))
    x = functional.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
    outputs = []
    for layer, stride, dilation in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
        index = 0
        while f"layer{layer}.{index}.conv1.weight" in state:
            x = bottleneck(x, state, f"layer{layer}.{index}", stride if index == 0 else 1, dilation)
            index += 1
        outputs.append(x)
    return outputs[2], outputs[3]


def official_logits(x, state):
    """Auxiliary and main logits of the official PSPNet."""
    middle, features = trunk(x, state, "layer0.0", "layer0.1")
    if "bn_pretrain.weight" in state:
        features = batch_norm(features, state, "bn_pretrain")
    aux = functional.conv2d(middle, state["final1.0.weight"], state["final1.0.bias"], padding=1)
    aux = functional.conv2d(batch_norm(aux, state, "final1.1"), state["final1.3.weight"], state["final1.3.bias"])
    parts = []
    for stage, bins in enumerate((1, 2, 3, 6)):
        pooled = functional.adaptive_avg_pool2d(features, bins)
        pooled = functional.conv2d(pooled, state[f"final2.0.stages.{stage}.1.weight"])
        parts.append(functional.interpolate(pooled, features.shape[2:], mode="bilinear", align_corners=True))
    out = functional.conv2d(torch.cat([*parts, features], 1), state["final2.0.bottleneck.0.weight"], padding=1)
    out = batch_norm(out, state, "final2.0.bottleneck.1")
    return aux, functional.conv2d(out, state["final2.1.weight"], state["final2.1.bias"])


def deeplab_logits(x, state, branches):
    """Auxiliary and main logits of DeepLabV2 with the first `branches` of its classifiers' convolutions."""
    results = []
    for layer, features in zip((5, 6), trunk(x, state, "conv1", "bn1"), strict=True):
        total = 0
        for branch, dilation in enumerate((6, 12, 18, 24)[:branches]):
            name = f"layer{layer}.conv2d_list.{branch}"
            weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            total = total + functional.conv2d(features, weight, bias, padding=dilation, dilation=dilation)
        results.append(total)
    return results


def picture(size=(40, 56)):
    return torch.randint(256, (2, 3, *size), generator=torch.Generator().manual_seed(3)).float()  # RGB bytes


def bgr(rgb):
    return rgb[:, [2, 1, 0]] - MEAN


def imported(tmp_path, tensors, classes=CITYSCAPES, branches=4):
    torch.save(tensors, tmp_path / "student.pth")
    return foreign_segmenter(read_weights(tmp_path / "student.pth"), classes, aspp_branches=branches)


@torch.no_grad()
def assert_same(segmenter, rgb, expected):
    segmenter.use_statistics("night")
    outputs = segmenter(rgb / 127.5 - 1)
    for found, wanted in zip((outputs.aux, outputs.logits), expected, strict=True):
        assert 0.1 < float(wanted.abs().max()) < 100
        assert float((found - wanted).abs().max()) < 1e-5 * max(1.0, float(wanted.abs().max()))


SMALL = {"blocks": (2, 1, 3, 1), "width": 4, "classes": 3}


@pytest.mark.parametrize("student", [False, True])
def test_a_network_of_the_official_layout_gives_the_logits_of_a_plain_computation(tmp_path, student):
    tensors = drawn(official_layout(student=student, head=6, **SMALL))
    segmenter = imported(tmp_path, tensors, FEW)
    rgb = picture()
    seen = bgr(rgb) / 128
    assert_same(segmenter, rgb, official_logits(seen.flip(1) if student else seen, tensors))


@pytest.mark.parametrize("branches", [2, 4])
@pytest.mark.parametrize("counters", [False, True], ids=["AdaptSegNet", "ADVENT"])
def test_a_network_of_deeplabs_layout_gives_the_logits_of_a_plain_computation(tmp_path, counters, branches):
    tensors = drawn(deeplab_layout(counters=counters, **SMALL))
    tensors["conv1.weight"] /= 64  # its input is not divided by 128
    segmenter = imported(tmp_path, tensors, FEW, branches)
    rgb = picture()
    assert_same(segmenter, rgb, deeplab_logits(bgr(rgb), tensors, branches))


def test_a_distilled_student_of_resnet101_gives_the_logits_of_a_plain_computation(tmp_path):
    """The one test at the published size: 650 tensors of 70,425,169 values."""
    tensors = drawn(official_layout(student=True))
    assert (len(tensors), sum(value.numel() for value in tensors.values())) == (650, 70_425_169)
    segmenter = imported(tmp_path, tensors)
    assert segmenter.section.blocks == RESNET101
    rgb = picture()
    assert_same(segmenter, rgb, official_logits((bgr(rgb) / 128).flip(1), tensors))


# the exact public layouts; every tensor is one number, which takes no room in the file


def constants(layout):
    numbers = torch.linspace(0.1, 0.9, len(layout))
    return {
        name: torch.tensor(3)
        if name.endswith("num_batches_tracked")
        else number.reshape((1,) * len(shape)).expand(shape)
        for number, (name, shape) in zip(numbers, layout.items(), strict=True)
    }


PUBLIC = {
    "LoopDA": (functools.partial(official_layout, student=False), 645, "pspnet", "caffe", False),
    "LoopDA, distilled": (functools.partial(official_layout, student=True), 650, "pspnet", "caffe-rgb", True),
    "ADVENT": (functools.partial(deeplab_layout, counters=True), 640, "deeplab", "caffe-255", False),
    "AdaptSegNet": (functools.partial(deeplab_layout, counters=False), 536, "deeplab", "caffe-255", False),
}


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_tensor_of_a_public_layout_arrives_and_the_input_is_the_one_it_expects(tmp_path, name, prefix):
    layout, entries, network, normalised, student = PUBLIC[name]
    tensors = constants(layout())
    assert len(tensors) == entries
    segmenter = imported(tmp_path, {f"{prefix}{key}": value for key, value in tensors.items()})
    state = segmenter.network.state_dict()
    for key, value in tensors.items():
        assert torch.equal(state[key], value), key
    assert len(state) == (entries if entries != 536 else 640)
    section = segmenter.section
    assert (section.name, section.normalisation, segmenter.bn_pretrain) == (network, normalised, student)
    assert (section.blocks, section.width, section.output_stride) == (RESNET101, 64, 8)
    assert (section.stride_in, section.statistics) == ("conv1", "shared")


def test_advents_network_has_44_6_million_parameters():
    layout = deeplab_layout(counters=True)
    parameters = [shape for name, shape in layout.items() if not name.endswith(("_mean", "_var", "_tracked"))]
    assert sum(math.prod(shape) for shape in parameters) == 44_601_560


# what does not fit


def small_official():
    return drawn(official_layout(student=False, head=6, **SMALL))


def test_every_missing_unexpected_misshapen_and_not_finite_tensor_is_in_one_error(tmp_path):
    tensors = small_official()
    missing = ["final2.0.stages.2.1.weight", "layer3.1.bn2.bias"]
    for name in missing:
        del tensors[name]
    tensors["final1.0.bias"] = torch.zeros(7)
    tensors["final1.1.running_var"][2] = math.nan
    tensors["extra.weight"] = torch.zeros(2)
    with pytest.raises(DataError) as raised:
        imported(tmp_path, tensors, FEW)
    lines = [line.strip() for line in str(raised.value).splitlines()]
    assert lines[0].endswith(
        "student.pth: these weights do not fit the network: it is not a whole network of official LoopDA"
    )
    assert sorted(lines[1:-1]) == sorted(
        [f"{name} is missing" for name in missing]
        + [
            "final1.0.bias is (7,), the network has (6,)",
            "final1.1.running_var holds numbers that are not finite",
            "extra.weight has no place in the network",
        ]
    )
    assert lines[-1] == "5 faults in all"


@pytest.mark.fault(87, "refused by name")
def test_a_tensor_that_is_stored_sparsely_is_no_plain_one(tmp_path):
    tensors = small_official()
    tensors["final1.0.weight"] = tensors["final1.0.weight"].to_sparse()
    with pytest.raises(DataError, match=r"final1\.0\.weight holds torch\.sparse_coo, .*\n1 fault in all$"):
        imported(tmp_path, tensors, FEW)


def test_a_network_of_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match="a network of 3 classes, but the class list has 19"):
        imported(tmp_path, small_official(), CITYSCAPES)


def test_a_deeplab_without_its_main_classifier_is_refused_with_what_it_lacks(tmp_path):
    tensors = {k: v for k, v in drawn(deeplab_layout(counters=True, **SMALL)).items() if not k.startswith("layer6.")}
    with pytest.raises(DataError, match=r"layer6\.conv2d_list\.0\.weight is missing"):
        imported(tmp_path, tensors, FEW)


def test_a_backbone_alone_cannot_be_evaluated(tmp_path):
    with pytest.raises(DataError, match="torchvision's ResNet is a backbone without segmentation heads"):
        imported(tmp_path, drawn(trunk_layout("conv1", "bn1", (1, 1, 1, 1), 4)), FEW)


def test_absurd_widths_are_refused_before_a_network_is_built(tmp_path):
    layout = official_layout(student=False, head=6, **SMALL)
    tensors = constants(layout) | {"layer0.0.weight": torch.zeros(1).reshape(1, 1, 1, 1).expand(10**9, 3, 7, 7)}
    tensors |= {"layer1.999999999.conv1.weight": torch.zeros(1)}
    with pytest.raises(DataError, match="no network of this package has these widths"):
        imported(tmp_path, tensors, FEW)


def test_a_segmenter_of_the_package_is_not_foreign(tmp_path):
    segmenter = imported(tmp_path, small_official(), FEW)
    content = {"network": segmenter.section.model_dump(), "model": segmenter.network.state_dict()}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(DataError, match="a checkpoint of this package already"):
        foreign_segmenter(read_weights(tmp_path / "model.pt"), FEW, aspp_branches=4)


def test_the_plain_computation_sees_a_wrong_order_of_channels(tmp_path):
    """The comparison above can fail: with the student's input the other network answers something else."""
    tensors = small_official()
    segmenter = imported(tmp_path, tensors, FEW)
    wrong = Segmenter(segmenter.section.model_copy(update={"normalisation": "caffe-rgb"}), FEW)
    wrong.network.load_state_dict(segmenter.network.state_dict())
    wrong.statistics = segmenter.statistics
    rgb = picture()
    with pytest.raises(AssertionError):
        assert_same(wrong, rgb, official_logits(bgr(rgb) / 128, tensors))


# single-level networks, and the branches of their classifiers


def single_level(name, seed=0):
    """The tensors of a network whose one classifier, on layer4, is called `name`."""
    tensors = drawn(deeplab_layout(counters=name == "layer6", **SMALL), seed)
    tensors = {key: value for key, value in tensors.items() if not key.startswith("layer5.")}
    return {key.replace("layer6.", f"{name}."): value for key, value in tensors.items()}


@pytest.mark.parametrize(("name", "stated", "branches"), [("layer6", 0, 4), ("layer5", 2, 2), ("layer5", 4, 4)])
@pytest.mark.fault(88, "imported, with the logits of a plain computation")
def test_a_single_level_network_gives_the_logits_of_a_plain_computation(tmp_path, name, stated, branches):
    """ADVENT's code calls the classifier layer6, AdaptSegNet's and BDL's layer5."""
    tensors = single_level(name)
    tensors["conv1.weight"] /= 64
    segmenter = imported(tmp_path, tensors, FEW, stated)
    assert (segmenter.section.levels, segmenter.section.aspp_branches) == (1, branches)
    assert not segmenter.network.has_aux
    rgb = picture()
    state = {key.replace("layer5.", "layer6."): value for key, value in tensors.items()}
    state |= {key.replace("layer6.", "layer5."): torch.zeros(3, 64, 3, 3) if value.ndim == 4 else torch.zeros(3)
              for key, value in state.items() if key.startswith("layer6.")}  # fmt: skip
    _, expected = deeplab_logits(bgr(rgb), state, branches)
    segmenter.use_statistics("night")
    with torch.no_grad():
        outputs = segmenter(rgb / 127.5 - 1)
    assert outputs.aux is None
    assert torch.allclose(outputs.logits, expected, atol=1e-5 * float(expected.abs().max()))
    save_segmenter(segmenter, tmp_path / "model.pt")
    assert load_segmenter(tmp_path / "model.pt").section == segmenter.section


def with_branches(*, untouched, seed=0):
    """A multi-level network whose last branches hold the numbers of their initialisation, or were trained like all."""
    draws = torch.Generator().manual_seed(seed)
    tensors = drawn(deeplab_layout(counters=False, **SMALL), seed)
    for name, value in tensors.items():
        if "conv2d_list" in name and name.endswith("weight"):
            initial = torch.randn(value.shape, generator=draws) * 0.01
            trained = 0.85 * initial + 0.01 * torch.randn(value.shape, generator=draws)  # by decay and gradients
            tensors[name] = initial if int(name.split(".")[2]) in untouched else trained
    return tensors


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.fault(89, "the branches that were never trained tell it")
def test_branches_that_were_never_trained_tell_that_two_are_summed(tmp_path, seed):
    tensors = with_branches(untouched=(2, 3), seed=seed)
    assert summed_branches(tensors) == 2
    assert imported(tmp_path, tensors, FEW, 0).section.aspp_branches == 2
    with pytest.raises(ConfigError, match=r"convert\.aspp_branches .* is 4, but two of the four .* never trained"):
        imported(tmp_path, tensors, FEW, 4)


@pytest.mark.parametrize("untouched", [(), (0, 1, 2, 3), (1, 2, 3), (3,)])
@pytest.mark.fault(89, "where the file does not say, the key and its two values are named")
def test_where_the_file_does_not_tell_its_branches_they_must_be_said(tmp_path, untouched):
    tensors = with_branches(untouched=untouched)
    with pytest.raises(ConfigError, match=r"set convert\.aspp_branches \(--aspp-branches\) to 2 .*AdaptSegNet.* to 4"):
        imported(tmp_path, tensors, FEW, 0)
    for stated in (2, 4):
        assert imported(tmp_path, tensors, FEW, stated).section.aspp_branches == stated


def test_a_network_of_another_kind_has_no_branches_to_tell(tmp_path):
    assert imported(tmp_path, small_official(), FEW, 0).section.name == "pspnet"


# the order of classes


@pytest.mark.parametrize("key", ["CLASSES", "classes"])
@pytest.mark.fault(90, "another order of classes is refused where the file says its own")
def test_classes_in_another_order_than_the_class_list_are_refused(tmp_path, key):
    content = {"meta": {key: ["a", "c", "b"]}, "state_dict": small_official()}
    with pytest.raises(DataError, match="another order than the class list: number 1 is c there and b here"):
        imported(tmp_path, content, FEW)
    imported(tmp_path, content | {"meta": {key: ("A", "b", "c")}}, FEW)
