"""AdaptSegNet and ADVENT: what they minimise, and who learns from it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from domains import losses_of, random_day, random_night, reaches, section_of, small_segmenter
from torch.nn import functional

from loopda.errors import ConfigError
from loopda.losses.adversarial import SOURCE, TARGET, domain_loss
from loopda.losses.entropy import class_ratio, entropy, self_information
from loopda.methods.adaptsegnet import AdaptSegNet, AdaptSegNetSettings
from loopda.methods.advent import Advent, AdventSettings
from loopda.methods.method import supervision
from loopda.models.segmenter import upsample
from loopda.training.optimizer import descend

SINGLE = {"aux": 0.0, "adversarial_aux": 0.0}
MINENT = {"entropy": 0.5, "entropy_aux": 0.25, "adversarial": 0.0, "adversarial_aux": 0.0}
SHARES = np.array([0.55, 0.35, 0.06, 0.04])
KINDS = [AdaptSegNet, Advent]
SETTINGS = {AdaptSegNet: AdaptSegNetSettings, Advent: AdventSettings}


@pytest.fixture
def built(base_config):
    """A method of a kind with `changes` to its section, and its network."""

    def build(kind, **changes):
        segmenter = small_segmenter()
        section = section_of(SETTINGS[kind], base_config, **changes)
        return kind(section, segmenter, SimpleNamespace(class_shares=lambda: SHARES)), segmenter

    return build


def probabilities(outputs, head, images):
    """Probabilities of a head at the size of the images."""
    return upsample(getattr(outputs, head), images.shape[2:]).softmax(dim=1)


# ---------------------------------------------------------------- what is minimised


@pytest.mark.parametrize("gan", ["bce", "lsgan"])
def test_adaptsegnet_adds_to_the_supervision_the_adversarial_loss_of_both_heads(built, gan):
    method, segmenter = built(AdaptSegNet, gan=gan, aux=0.1, adversarial=0.3, adversarial_aux=0.2)
    day, night = random_day(), random_night()
    found = method.losses(segmenter, day, night, 1, 10)
    of_day, of_night = segmenter(day.images), segmenter(night.images)
    expected, discriminator_loss = supervision(of_day, day.labels, 0.1), torch.zeros(())
    for head, weight in (("logits", 0.3), ("aux", 0.2)):
        discriminator = method.alignment.discriminators[head]
        night_scores = discriminator(probabilities(of_night, head, night.images))
        day_scores = discriminator(probabilities(of_day, head, day.images))
        expected = expected + weight * domain_loss(scores=night_scores, domain=SOURCE, kind=gan)
        discriminator_loss = discriminator_loss + domain_loss(scores=day_scores, domain=SOURCE, kind=gan) / 2
        discriminator_loss = discriminator_loss + domain_loss(scores=night_scores, domain=TARGET, kind=gan) / 2
    assert found.segmenter.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.discriminators.item() == pytest.approx(discriminator_loss.item(), rel=1e-5)
    assert set(found.terms) == {"seg_d", "adv_n", "adv_n_aux", "discriminators"}


def test_single_level_adaptsegnet_has_one_discriminator_and_leaves_the_auxiliary_head_alone(built):
    method, segmenter = built(AdaptSegNet, **SINGLE)
    assert list(method.alignment.discriminators) == ["logits"]
    assert not reaches(losses_of(method, segmenter).segmenter, segmenter.network.final1)
    method, segmenter = built(AdaptSegNet, aux=0.1, adversarial_aux=0.1)
    assert set(method.alignment.discriminators) == {"logits", "aux"}
    assert reaches(losses_of(method, segmenter).segmenter, segmenter.network.final1)


def test_minent_adds_the_entropy_of_the_night_of_each_head_and_has_no_discriminator(built):
    method, segmenter = built(Advent, aux=0.1, **MINENT)
    day, night = random_day(), random_night()
    found = method.losses(segmenter, day, night, 1, 10)
    outputs = segmenter(night.images)
    expected = supervision(segmenter(day.images), day.labels, 0.1)
    for head, weight in (("logits", 0.5), ("aux", 0.25)):
        expected = expected + weight * entropy(probabilities=probabilities(outputs, head, night.images))
    assert found.segmenter.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.discriminators is None
    assert method.optimizers() == {}
    assert not list(method.parameters())


def test_advent_shows_its_discriminators_the_self_information_and_not_the_probabilities(built):
    method, segmenter = built(Advent, aux=0.0, adversarial=0.3, adversarial_aux=0.0)
    night = random_night()
    found = method.losses(segmenter, random_day(), night, 1, 10)
    p = probabilities(segmenter(night.images), "logits", night.images)
    discriminator = method.alignment.discriminators["logits"]
    expected = domain_loss(scores=discriminator(self_information(probabilities=p)), domain=SOURCE, kind="bce")
    assert found.terms["adv_n"].item() == pytest.approx(expected.item(), rel=1e-5)
    plain = domain_loss(scores=discriminator(p), domain=SOURCE, kind="bce")
    assert found.terms["adv_n"].item() != pytest.approx(plain.item(), rel=1e-5)


def test_the_class_ratio_prior_compares_the_night_with_the_shares_of_the_labelled_day(built):
    method, segmenter = built(Advent, aux=0.0, class_ratio=2.0, class_ratio_relax=0.9)
    night = random_night()
    found = method.losses(segmenter, random_day(), night, 1, 10)
    p = probabilities(segmenter(night.images), "logits", night.images)
    prior = torch.tensor(SHARES, dtype=torch.float32)
    expected = class_ratio(probabilities=p, prior=prior, relax=0.9)
    assert expected.item() > 0
    assert found.terms["class_ratio"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_adaptsegnet_without_a_discriminator_is_refused(built):
    with pytest.raises(ConfigError, match=r"adversarial and adversarial_aux are both 0.*source_only"):
        built(AdaptSegNet, adversarial=0.0, adversarial_aux=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_that_the_discriminators_cannot_see_is_refused_with_the_key_to_change(built, kind):
    method, segmenter = built(kind, discriminator_layers=6)
    with pytest.raises(ConfigError, match=r"discriminator_layers: 6 are too many.*input\.crop"):
        losses_of(method, segmenter)


def test_without_the_class_ratio_prior_the_labels_are_not_counted(base_config):
    section = section_of(AdventSettings, base_config, class_ratio=0.0)
    method = Advent(section, small_segmenter(), None)
    assert method.prior.tolist() == [0] * 4


# ---------------------------------------------------------------- who learns from it


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminators_get_no_gradient_from_the_networks_loss(built, kind):
    method, segmenter = built(kind)
    found = losses_of(method, segmenter)
    assert reaches(found.segmenter, segmenter.network)
    assert not reaches(found.segmenter, method.alignment)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_gets_no_gradient_from_the_discriminators_loss(built, kind):
    method, segmenter = built(kind)
    found = losses_of(method, segmenter)
    assert not reaches(found.discriminators, segmenter.network)
    for discriminator in method.alignment.discriminators.values():
        assert reaches(found.discriminators, discriminator)


@pytest.mark.parametrize("kind", KINDS)
def test_the_night_passes_for_day_after_descending_along_the_networks_loss(built, kind):
    method, segmenter = built(kind, aux=0.0, adversarial=100.0, adversarial_aux=0.0)
    day, night = random_day(), random_night()
    optimizer = torch.optim.SGD(segmenter.network.parameters(), lr=1e-3)
    before = method.losses(segmenter, day, night, 1, 10).terms["adv_n"]
    for step in range(1, 6):
        descend(method.losses(segmenter, day, night, step, 10).segmenter, optimizer)
    assert method.losses(segmenter, day, night, 6, 10).terms["adv_n"] < before


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminators_tell_the_domains_apart_after_descending_along_their_loss(built, kind):
    method, segmenter = built(kind, discriminator_lr=1e-3)
    day, night = random_day(), random_night()
    before = method.losses(segmenter, day, night, 1, 10).discriminators
    for step in range(1, 6):
        descend(method.losses(segmenter, day, night, step, 10).discriminators, method.optimizers()["discriminators"])
    assert method.losses(segmenter, day, night, 6, 10).discriminators < before


def test_the_network_learns_to_be_surer_at_night_by_minent(built):
    method, segmenter = built(Advent, aux=0.0, **MINENT)
    day, night = random_day(), random_night()
    day = day._replace(labels=torch.full_like(day.labels, 255))  # no supervision
    optimizer = torch.optim.SGD(segmenter.network.parameters(), lr=0.1)
    before = method.losses(segmenter, day, night, 1, 10)
    for step in range(1, 11):
        descend(method.losses(segmenter, day, night, step, 10).segmenter, optimizer)
    after = method.losses(segmenter, day, night, 11, 10)
    for term in ("entropy", "entropy_aux"):
        assert after.terms[term] < before.terms[term]


def test_the_network_learns_to_predict_a_class_that_is_too_rare_at_night(built):
    method, segmenter = built(Advent, aux=0.0, class_ratio=10.0, class_ratio_relax=1.0, **MINENT | {"entropy": 0.0})
    day, night = random_day(), random_night()
    day = day._replace(labels=torch.full_like(day.labels, 255))
    optimizer = torch.optim.SGD(segmenter.network.parameters(), lr=0.01)
    before = method.losses(segmenter, day, night, 1, 10).terms["class_ratio"]
    for step in range(1, 11):
        descend(method.losses(segmenter, day, night, step, 10).segmenter, optimizer)
    assert method.losses(segmenter, day, night, 11, 10).terms["class_ratio"] < before


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (AdaptSegNet, {"aux": 0.1}),
        (AdaptSegNet, {"adversarial_aux": 0.1}),
        (Advent, {"adversarial_aux": 0.1}),
        (Advent, {**MINENT, "aux": 0.0}),
    ],
)
def test_a_network_without_an_auxiliary_head_is_refused_with_weights_of_one(base_config, kind, changes):
    segmenter = small_segmenter()
    segmenter.network.has_aux = False
    with pytest.raises(ConfigError, match=rf"methods\.{kind.__name__.lower()}: .*no auxiliary head"):
        kind(section_of(SETTINGS[kind], base_config, **changes), segmenter, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_without_an_auxiliary_head_is_adapted_at_a_single_level(base_config, kind):
    segmenter = small_segmenter()
    segmenter.network.has_aux = False
    method = kind(section_of(SETTINGS[kind], base_config, **SINGLE), segmenter, None)
    found = losses_of(method, segmenter)
    assert found.segmenter.isfinite()
    assert not reaches(found.segmenter, segmenter.network.final1)


def test_the_maps_of_a_batch_of_another_size_are_aligned_at_their_own_size(built):
    method, segmenter = built(AdaptSegNet)
    night = random_night()
    wide = night._replace(images=functional.pad(night.images, (0, 16)))
    assert method.losses(segmenter, random_day(), wide, 1, 10).segmenter.isfinite()
