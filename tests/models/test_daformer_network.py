"""DAFormer's network among the others: its grids and names, learning rates, statistics, and the way in and out."""

import pytest
import torch
from checkpoints import small_network
from torch import nn
from torch.nn import functional

from loopda.errors import ConfigError
from loopda.evaluation.probabilities import class_probabilities, predict
from loopda.exchange.onnx import Deployed
from loopda.labels.classes import CITYSCAPES
from loopda.methods.method import supervision
from loopda.models.checkpoint import load_segmenter, save_segmenter
from loopda.models.daformer import DAFormerNetwork
from loopda.models.segmenter import Segmenter, copy_backbone, estimate_statistics
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer

TINY = {"name": "daformer", "encoder": "mit_tiny", "normalisation": "imagenet", "dropout": 0.1}


def segmenter(**changes):
    torch.manual_seed(0)
    return Segmenter(small_network(**TINY | changes), CITYSCAPES)


def images(count=2, height=40, width=56):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_logits_and_shallow_features_have_stride_4_and_the_deepest_32():
    outputs = segmenter()(images())
    assert tuple(outputs.shallow.shape) == (2, 16, 10, 14)
    assert tuple(outputs.logits.shape) == (2, 19, 10, 14)
    assert tuple(outputs.features.shape) == (2, 96, 2, 2)
    assert outputs.aux is None
    assert not outputs.aligned


def test_the_decoder_has_the_tensors_of_the_authors_checkpoints():
    with torch.device("meta"):
        state = DAFormerNetwork(classes=19).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items() if name.endswith("weight")}
    head = "decode_head"
    for level, dim in enumerate((64, 128, 320, 512)):
        assert shapes[f"{head}.embed_layers.{level}.proj.weight"] == (256, dim)
    assert shapes[f"{head}.fuse_layer.aspp_modules.0.conv.weight"] == (256, 1024, 1, 1)
    for branch in (1, 2, 3):
        name = f"{head}.fuse_layer.aspp_modules.{branch}"
        assert shapes[f"{name}.depthwise_conv.conv.weight"] == (1024, 1, 3, 3)
        assert shapes[f"{name}.pointwise_conv.conv.weight"] == (256, 1024, 1, 1)
    assert shapes[f"{head}.fuse_layer.bottleneck.conv.weight"] == (256, 1024, 3, 3)
    assert shapes[f"{head}.conv_seg.weight"] == (19, 256, 1, 1)


def test_the_branches_of_the_fusion_look_1_6_12_and_18_cells_far():
    fusion = DAFormerNetwork(classes=3, encoder="mit_tiny", head_channels=4).decode_head.fuse_layer
    assert [branch.depthwise_conv.conv.dilation for branch in fusion.aspp_modules[1:]] == [(6, 6), (12, 12), (18, 18)]


def test_predictions_are_upsampled_without_aligned_corners_everywhere():
    model = segmenter()
    model.statistics = {"night": estimate_statistics(model, [images()])}
    model.use_statistics("night")
    with torch.no_grad():
        coarse = class_probabilities(model, images(1))
        expected = functional.interpolate(coarse, (40, 56), mode="bilinear", align_corners=False)
        bytes_ = ((images(1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        deployed = Deployed(model)(bytes_)[1]
    assert torch.equal(predict(model, images(1), (40, 56))[1], expected.max(dim=1)[0])
    assert torch.allclose(deployed, expected, atol=0.02)
    aligned = functional.interpolate(coarse, (40, 56), mode="bilinear", align_corners=True)
    assert not torch.allclose(expected, aligned, atol=1e-4)


def test_supervision_upsamples_without_aligned_corners_and_has_no_auxiliary_head():
    model = segmenter(dropout=0.0).eval()
    labels = torch.randint(19, (2, 40, 56))
    outputs = model(images())
    logits = functional.interpolate(outputs.logits, (40, 56), mode="bilinear", align_corners=False)
    assert torch.allclose(supervision(outputs, labels, 0), functional.cross_entropy(logits, labels))
    with pytest.raises(ConfigError, match="no auxiliary head"):
        supervision(outputs, labels, 0.1)


def test_layer_normalisations_have_no_weight_decay_and_every_parameter_has_one_group():
    model = segmenter()
    section = SegmenterOptimizer(name="adamw", lr=6e-5, head_factor=10.0, momentum=0.9, weight_decay=0.01, power=1.0)
    backbone, heads, norms = segmenter_optimizer(model, section).param_groups
    assert (backbone["lr"], heads["lr"], norms["lr"]) == pytest.approx((6e-5, 6e-4, 6e-5))
    assert (backbone["weight_decay"], heads["weight_decay"], norms["weight_decay"]) == (0.01, 0.01, 0.0)
    names = {id(value): name for name, value in model.network.named_parameters()}
    assert {names[id(value)].split(".")[0] for value in heads["params"]} == {"decode_head"}
    assert all("norm" in names[id(value)] for value in norms["params"])
    assert not any("norm" in names[id(value)] for value in backbone["params"])
    owned = [id(value) for group in (backbone, heads, norms) for value in group["params"]]
    assert sorted(owned) == sorted(names)


def test_statistics_are_of_the_decoders_normalisations_alone_and_nothing_is_dropped_for_them():
    model = segmenter(drop_path=0.9, dropout=0.9)
    first = estimate_statistics(model, [images()])
    assert {name.split(".")[0] for name in first} == {"decode_head"}
    assert all(torch.equal(value, first[name]) for name, value in estimate_statistics(model, [images()]).items())
    assert all(part.training for part in model.modules())


def test_a_checkpoint_is_loaded_as_it_was_saved(tmp_path):
    model = segmenter(statistics="shared")
    model.statistics = {"shared": estimate_statistics(model, [images()])}
    save_segmenter(model, tmp_path / "model.pt")
    loaded = load_segmenter(tmp_path / "model.pt")
    assert loaded.section == model.section
    model.use_statistics("night")
    loaded.use_statistics("night")
    assert torch.equal(model(images()).logits, loaded(images()).logits)


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("pspnet", "resnet"),
        ("pspnet", "efficientnet_lite0"),
        ("deeplab", "resnet"),
        ("daformer", "mit_tiny"),
        ("daformer", "efficientnet_lite0"),
    ],
)
def test_a_backbone_is_copied_whole_and_alone_with_its_channels_changed_where_the_inputs_differ(name, encoder):
    source, target = (segmenter(name=name, encoder=encoder, normalisation=order) for order in ("caffe", "caffe-rgb"))
    for value in target.network.parameters():
        nn.init.constant_(value, 7.0)
    copy_backbone(source, target)
    ours, theirs = target.network.state_dict(), source.network.state_dict()
    learnt = [key for key, _ in source.network.named_parameters()]
    trunk = [key for key in learnt if key.split(".")[0] in source.network.trunk]
    assert torch.equal(ours[trunk[0]], theirs[trunk[0]].flip(1))
    assert all(torch.equal(ours[key], theirs[key]) for key in trunk[1:])
    assert all((ours[key] == 7).all() for key in learnt if key not in trunk)
    outputs = source.eval()(images()), target.eval()(images())
    assert torch.allclose(outputs[0].features, outputs[1].features, atol=1e-4)
