"""Where the student's backbone comes from, before its contrastive training."""

import pytest
import torch

from loopda.errors import ConfigError
from loopda.models.checkpoint import load_segmenter
from loopda.stages import simclr


def student(miniature, out, start, **changes):
    """The student after `simclr` without a step."""
    section = miniature.section("simclr", start=start, steps=0)
    simclr.run(**miniature.arguments("simclr", out, config=section, **changes))
    return load_segmenter(out / "model.pt").network


def stem(network):
    return network.layer0[0].weight


def test_the_students_backbone_starts_at_the_source_only_models(miniature, tmp_path):
    source = load_segmenter(miniature.path("pretrain", "model.pt")).network
    network = student(miniature, tmp_path / "student", "pretrain")
    assert torch.equal(stem(network), stem(source).flip(1))  # one is fed BGR, the other RGB
    assert torch.equal(network.layer4[0].conv2.weight, source.layer4[0].conv2.weight)
    assert not torch.equal(network.final2[1].weight, source.final2[1].weight)


def test_a_random_students_backbone_does_not_depend_on_the_source_only_model(miniature, tmp_path):
    network = student(miniature, tmp_path / "student", "random")
    alone = student(miniature, tmp_path / "alone", "random", pretrained=None)
    assert torch.equal(stem(network), stem(alone))
    source = load_segmenter(miniature.path("pretrain", "model.pt")).network
    assert not torch.equal(stem(network), stem(source).flip(1))


def test_a_start_without_the_source_only_model_is_refused_before_training(miniature, tmp_path):
    with pytest.raises(ConfigError, match=r"simclr\.start is pretrain: name the source-only model \(--pretrained\)"):
        student(miniature, tmp_path / "student", "pretrain", pretrained=None)
    assert not (tmp_path / "student" / "model.pt").exists()
