import math

import pytest
import torch
from domains import gradients, random_day, random_night, reaches, section_of, small_segmenter

from loopda.losses.adversarial import SOURCE, TARGET, domain_loss
from loopda.methods.dann import Dann, DannSettings, reversal
from loopda.methods.method import supervision

HALFWAY = {"step": 6, "steps": 10}  # progress 1/2


@pytest.fixture
def dann(base_config):
    segmenter = small_segmenter()
    return Dann(section_of(DannSettings, base_config, weight=2.0), segmenter, None), segmenter


def domain_of(method, segmenter, day, night):
    """The classifier's loss without any reversal: the mean of both domains'."""
    return sum(
        domain_loss(scores=method.classifier(segmenter(images).features), domain=domain, kind="bce") / 2
        for images, domain in ((day.images, SOURCE), (night.images, TARGET))
    )


def test_dann_minimises_the_supervision_and_the_weighted_loss_of_the_domain_classifier(dann):
    method, segmenter = dann
    day, night = random_day(), random_night()
    found = method.losses(segmenter, day, night, **HALFWAY)
    seg_d, domain = supervision(segmenter(day.images), day.labels, 0), domain_of(method, segmenter, day, night)
    assert found.segmenter.item() == pytest.approx((seg_d + 2 * domain).item(), rel=1e-5)
    assert found.discriminators is None


def test_the_network_gets_the_gradient_of_the_domain_loss_reversed_and_the_classifier_as_it_is(dann):
    method, segmenter = dann
    day, night = random_day(), random_night()
    found = method.losses(segmenter, day, night, **HALFWAY).terms["domain"]
    plain = domain_of(method, segmenter, day, night)
    strength = 2 / (1 + math.exp(-10 * 0.5)) - 1
    trunk = segmenter.network.layer4
    for ours, theirs in zip(gradients(found, trunk), gradients(plain, trunk), strict=True):
        assert torch.allclose(ours, -strength * theirs, rtol=1e-4, atol=1e-7)
    for ours, theirs in zip(gradients(found, method.classifier), gradients(plain, method.classifier), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_the_domain_loss_reaches_no_head_of_the_network(dann):
    method, segmenter = dann
    domain = method.losses(segmenter, random_day(), random_night(), **HALFWAY).terms["domain"]
    assert reaches(domain, segmenter.network.layer0)
    assert not reaches(domain, segmenter.network.final1)
    assert not reaches(domain, segmenter.network.final2)


def test_the_network_is_not_yet_turned_around_in_the_first_step(dann):
    method, segmenter = dann
    domain = method.losses(segmenter, random_day(), random_night(), 1, 10).terms["domain"]
    assert not reaches(domain, segmenter.network)
    assert reaches(domain, method.classifier)


def test_the_strength_of_the_reversal_rises_from_0_towards_1():
    strengths = [reversal(progress, 10.0) for progress in (0, 0.1, 0.25, 0.5, 1)]
    assert strengths == pytest.approx([0, 0.4621172, 0.8482836, 0.9866143, 0.9999092])
    assert reversal(0.1, 20.0) == pytest.approx(reversal(0.2, 10.0))


def test_the_classifier_is_trained_jointly_with_the_network(dann):
    method, _ = dann
    optimizers = method.optimizers()
    assert set(optimizers) == {"joint"}
    learning = {id(p) for group in optimizers["joint"].param_groups for p in group["params"]}
    assert learning == {id(p) for p in method.classifier.parameters()}
