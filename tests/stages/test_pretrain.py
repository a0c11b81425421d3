"""Pretraining from imported backbones."""

import re

import pytest
import torch
from checkpoints import small_network

from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmenter import Segmenter
from loopda.stages import pretrain, simclr, warmup


def torchvision_file(path):
    """A backbone of the miniature's width with torchvision's names."""
    torch.manual_seed(1)
    trunk = {
        name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): value
        for name, value in Segmenter(small_network(), CITYSCAPES).network.state_dict().items()
        if re.match(r"layer\d", name)
    }
    torch.save(trunk | {"fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}, path)
    return trunk


def test_pretraining_starts_from_the_imported_backbone_and_sees_what_it_expects(miniature, tmp_path):
    trunk = torchvision_file(tmp_path / "resnet.pth")
    section = miniature.section("pretrain", weights=str(tmp_path / "resnet.pth"), steps=1)
    optimizer = section.optimizer.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})
    section = section.model_copy(update={"optimizer": optimizer, "warmup_steps": 0})
    out = tmp_path / "pretrain"
    pretrain.run(**miniature.arguments("pretrain", out, config=section))
    segmenter = load_segmenter(out / "model.pt")
    assert segmenter.section.normalisation == "imagenet"
    assert torch.equal(segmenter.network.layer2[0].conv2.weight, trunk["layer2.0.conv2.weight"])
    log = (tmp_path / "pretrain.log").read_text()
    assert "torchvision's ResNet" in log
    assert "imagenet: it replaces caffe" in log


def test_a_deeplab_is_pretrained_and_warmed_up_by_its_name_alone(miniature, tmp_path):
    section = miniature.section("pretrain")
    section = section.model_copy(update={"network": section.network.model_copy(update={"name": "deeplab"})})
    pretrain.run(**miniature.arguments("pretrain", tmp_path / "pretrain", config=section))
    pretrained = tmp_path / "pretrain" / "model.pt"
    warmup.run(**miniature.arguments("warmup", tmp_path / "warmup", pretrained=pretrained))
    first, second = load_segmenter(pretrained), load_segmenter(tmp_path / "warmup" / "model.pt")
    assert first.section.name == second.section.name == "deeplab"
    assert set(second.statistics) == {"day", "night"}
    assert not torch.equal(first.network.layer6.conv2d_list[3].weight, second.network.layer6.conv2d_list[3].weight)


def test_a_backbone_of_another_width_stops_pretraining_before_it_starts(miniature, tmp_path):
    torchvision_file(tmp_path / "resnet.pth")
    section = miniature.section("pretrain", weights=str(tmp_path / "resnet.pth"))
    section = section.model_copy(update={"network": section.network.model_copy(update={"width": 8})})
    with pytest.raises(DataError, match=r"network\.blocks to \[1, 1, 1, 1\] and network\.width to 4"):
        pretrain.run(**miniature.arguments("pretrain", tmp_path / "pretrain", config=section))
    assert not (tmp_path / "pretrain" / "model.pt").exists()


def test_an_imported_student_is_not_trained_contrastively_and_keeps_loopdas_input(miniature, tmp_path):
    trunk = torchvision_file(tmp_path / "plain.pth")
    torch.save({"state_dict": trunk}, tmp_path / "r101_1x_sk0.pth")
    section = miniature.section("simclr", weights=str(tmp_path / "r101_1x_sk0.pth"))
    out = tmp_path / "simclr"
    simclr.run(**miniature.arguments("simclr", out, config=section))
    segmenter = load_segmenter(out / "model.pt")
    assert (segmenter.section.normalisation, segmenter.bn_pretrain) == ("caffe-rgb", True)
    assert torch.equal(segmenter.network.layer0[0].weight, trunk["conv1.weight"])
    assert "ProDA's conversion" in (tmp_path / "simclr.log").read_text()


def test_images_whose_colours_move_train_another_model_and_without_it_the_images_stay_as_they_are(miniature, tmp_path):
    states = {}
    for name, changes in {"plain": {}, "same": {"colour": 0.0, "blur": 0.0}, "moved": {"colour": 0.8}}.items():
        section = miniature.section("pretrain", **changes)
        pretrain.run(**miniature.arguments("pretrain", tmp_path / name, config=section))
        states[name] = load_segmenter(tmp_path / name / "model.pt").network.layer0[0].weight
    assert torch.equal(states["plain"], states["same"])
    assert not torch.equal(states["plain"], states["moved"])
