import torch
from domains import losses_of, random_day, random_night, reaches, section_of, small_segmenter

from loopda.methods.method import supervision
from loopda.methods.source_only import SourceOnly, SourceOnlySettings


def test_the_control_minimises_the_cross_entropy_of_the_labelled_day_and_nothing_else(base_config):
    torch.manual_seed(0)
    segmenter, day = small_segmenter(), random_day()
    method = SourceOnly(section_of(SourceOnlySettings, base_config), segmenter, None)
    found = method.losses(segmenter, day, random_night(), 1, 10)
    expected = supervision(segmenter(day.images), day.labels, 0)
    assert found.segmenter.item() == expected.item()
    assert found.discriminators is None
    assert set(found.terms) == {"seg_d"}
    assert reaches(found.segmenter, segmenter.network)
    assert not reaches(found.segmenter, segmenter.network.final1)


def test_the_control_adds_no_network_and_no_optimiser(base_config):
    method = SourceOnly(section_of(SourceOnlySettings, base_config), small_segmenter(), None)
    assert not list(method.parameters())
    assert method.optimizers() == {}
    assert losses_of(method, small_segmenter()).segmenter.isfinite()
