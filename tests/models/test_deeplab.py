"""The layout, the learning rates and the branches of DeepLabV2; its logits are checked in test_foreign.py."""

import pytest
import torch
from checkpoints import small_network
from torch import nn

from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import load_segmenter, save_segmenter
from loopda.models.deeplab import AtrousPyramid, DeepLabV2
from loopda.models.segmenter import Segmenter, estimate_statistics


def small(**changes):
    return DeepLabV2(**{"classes": 5, "blocks": (1, 2, 1, 1), "width": 4} | changes)


def test_the_pyramid_is_the_sum_of_its_branches_each_with_its_own_dilation():
    torch.manual_seed(0)
    pyramid = AtrousPyramid(3, 2, 4)
    features = torch.zeros(1, 3, 60, 60)
    features[0, 0, 30, 30] = 1
    with torch.no_grad():
        answer = pyramid(features)[0]
    bias = sum(branch.bias for branch in pyramid.conv2d_list).detach()
    for branch, dilation in zip(pyramid.conv2d_list, (6, 12, 18, 24), strict=True):
        # a point shows the kernel, spread by the dilation, and mirrored
        for row, column in ((0, 0), (0, 2), (2, 1)):
            place = answer[:, 30 - (row - 1) * dilation, 30 - (column - 1) * dilation]
            assert torch.allclose(place, branch.weight[:, 0, row, column] + bias, atol=1e-6)
    centre = sum(branch.weight[:, 0, 1, 1] for branch in pyramid.conv2d_list)
    assert torch.allclose(answer[:, 30, 30], centre + bias, atol=1e-6)


def test_with_two_branches_the_others_are_stored_but_neither_used_nor_trained():
    pyramid = AtrousPyramid(3, 2, 2)
    assert [name for name, _ in pyramid.named_parameters()] == [
        f"conv2d_list.{branch}.{part}" for branch in range(4) for part in ("weight", "bias")
    ]
    pyramid(torch.rand(1, 3, 8, 8)).sum().backward()
    assert [branch.bias.grad is not None for branch in pyramid.conv2d_list] == [True, True, False, False]


@pytest.mark.parametrize("aux", [True, False])
def test_outputs_are_on_the_grid_of_the_official_networks(aux):
    with torch.device("meta"):
        outputs = small()(torch.empty(2, 3, 40, 56), aux=aux)
    assert tuple(outputs.shallow.shape) == (2, 32, 6, 8)
    assert tuple(outputs.features.shape) == (2, 128, 6, 8)
    assert tuple(outputs.logits.shape) == (2, 5, 6, 8)
    assert (outputs.aux is not None) == aux
    assert small().channels == (16, 32, 64, 128)


def test_each_trainable_parameter_has_one_of_the_two_learning_rates():
    network = small(bn_pretrain=True)
    names = {id(value): name for name, value in network.named_parameters()}
    base = [names[id(value)] for value in network.backbone_parameters()]
    heads = [names[id(value)] for value in network.head_parameters()]
    assert sorted(base + heads) == sorted(name for name, value in network.named_parameters() if value.requires_grad)
    assert {name.split(".")[0] for name in base} == {"conv1", "layer1", "layer2", "layer3", "layer4"}
    assert {name.split(".")[0] for name in heads} == {"layer5", "layer6", "bn_pretrain"}


def test_only_the_trunks_normalisations_are_frozen():
    network = small(bn_pretrain=True)
    trainable = {
        name for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d) and part.weight.requires_grad
    }
    assert trainable == {"bn_pretrain"}
    assert all(value.requires_grad for value in small(freeze_affine=False).parameters())


@pytest.mark.parametrize("branches", [2, 4])
def test_a_checkpoint_of_a_deeplab_is_loaded_as_it_was_saved(tmp_path, branches):
    changes = {"output_stride": 4, "normalisation": "imagenet", "statistics": "shared"}
    section = small_network(name="deeplab", aspp_branches=branches, **changes)
    torch.manual_seed(0)
    model = Segmenter(section, CITYSCAPES)
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    model.statistics = {"shared": estimate_statistics(model, [images])}
    save_segmenter(model, tmp_path / "model.pt")
    loaded = load_segmenter(tmp_path / "model.pt")
    assert loaded.section == section
    model.use_statistics("night")
    loaded.use_statistics("night")
    assert torch.equal(model(images).logits, loaded(images).logits)
    assert tuple(model(images).logits.shape) == (2, 19, 6, 8)
