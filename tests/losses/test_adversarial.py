import math

import pytest
import torch
from torch import nn

from loopda.losses.adversarial import (
    SOURCE,
    TARGET,
    discriminator_loss,
    domain_accuracy,
    domain_loss,
    generator_loss,
)


def mean_square(scores, target):
    values = scores.flatten().tolist()
    return sum((value - target) ** 2 for value in values) / len(values)


def scales(*shapes):
    return [torch.randn(2, 1, *shape) for shape in shapes]


def test_the_discriminator_sums_the_squared_distances_to_one_and_zero_over_kinds_and_scales():
    # equation 7 has two kinds of real images, x_d and x_ud, and one translation; real is 1 here
    day, reference, fake = (scales((4, 3), (2, 2)) for _ in range(3))
    expected = sum(mean_square(scores, 1) for scores in [*day, *reference])
    expected += sum(mean_square(scores, 0) for scores in fake)
    assert float(discriminator_loss(real=[day, reference], fake=fake)) == pytest.approx(expected, rel=1e-5)


def test_the_generator_sums_the_squared_distances_to_one_over_scales():
    fake = scales((8, 8), (4, 4), (1, 3))
    expected = sum(mean_square(scores, 1) for scores in fake)
    assert float(generator_loss(fake=fake)) == pytest.approx(expected, rel=1e-5)


def test_the_adversarial_losses_are_the_numbers_computed_by_hand():
    # the scales have different sizes: a mean in each, then the sum
    real = [[torch.tensor([1.0, 3.0]), torch.tensor([0.0])]]
    fake = [torch.tensor([2.0, 0.0]), torch.tensor([-1.0])]
    assert float(discriminator_loss(real=real, fake=fake)) == (0 + 4) / 2 + 1 + (4 + 0) / 2 + 1
    assert float(generator_loss(fake=fake)) == (1 + 1) / 2 + 4


def test_a_perfect_discriminator_pays_nothing_and_its_opponent_one_for_each_scale():
    real, fake = [[torch.ones(2, 1, 4, 4), torch.ones(2, 1, 2, 2)]], [torch.zeros(2, 1, 4, 4)] * 2
    assert float(discriminator_loss(real=real, fake=fake)) == 0
    assert float(generator_loss(fake=fake)) == 2


def test_the_generator_pulls_the_score_of_a_translation_towards_one_and_the_discriminator_towards_zero():
    score = torch.tensor([0.25], requires_grad=True)
    generator_loss(fake=[score]).backward()
    assert score.grad.tolist() == [2 * (0.25 - 1)]
    score.grad = None
    discriminator_loss(real=[[torch.ones(1)]], fake=[score]).backward()
    assert score.grad.tolist() == [2 * 0.25]


# ---------------------------------------------------------------- source against target


def naive_domain_loss(scores, domains, kind):
    """-d log h - (1 - d) log(1 - h) with h = sigmoid(score), or (score - d)^2; the mean over scores."""
    total = 0.0
    for score, domain in zip(scores, domains, strict=True):
        if kind == "bce":
            h = 1 / (1 + math.exp(-score))
            total -= domain * math.log(h) + (1 - domain) * math.log(1 - h)
        else:
            total += (score - domain) ** 2
    return total / len(scores)


@pytest.mark.parametrize("kind", ["bce", "lsgan"])
@pytest.mark.parametrize("domain", [SOURCE, TARGET])
def test_the_domain_loss_is_the_mean_over_scores_of_the_distance_to_the_domain(kind, domain):
    scores = torch.randn(2, 1, 3, 4)
    expected = naive_domain_loss(scores.flatten().tolist(), [domain] * 24, kind)
    assert float(domain_loss(scores=scores, domain=domain, kind=kind)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["bce", "lsgan"])
def test_every_score_can_have_a_domain_of_its_own(kind):
    scores, domains = torch.randn(11), torch.randint(0, 2, (11,))
    expected = naive_domain_loss(scores.tolist(), domains.tolist(), kind)
    assert float(domain_loss(scores=scores, domain=domains, kind=kind)) == pytest.approx(expected, rel=1e-5)


def test_the_domain_loss_is_the_number_computed_by_hand():
    # sigmoid(log 3) = 3/4: -log 3/4 for target, -log 1/4 for source
    score = torch.tensor([math.log(3)])
    assert float(domain_loss(scores=score, domain=TARGET, kind="bce")) == pytest.approx(0.2876821)
    assert float(domain_loss(scores=score, domain=SOURCE, kind="bce")) == pytest.approx(1.3862944)
    assert float(domain_loss(scores=torch.tensor([3.0, 0.0]), domain=TARGET, kind="lsgan")) == (4 + 1) / 2


@pytest.mark.parametrize("kind", ["bce", "lsgan"])
def test_the_domain_loss_pulls_scores_down_to_source_and_up_to_target(kind):
    for domain, sign in ((SOURCE, 1), (TARGET, -1)):
        score = torch.full((3,), 0.5, requires_grad=True)
        domain_loss(scores=score, domain=domain, kind=kind).backward()
        assert score.grad.sign().tolist() == [sign] * 3


@pytest.mark.parametrize("kind", ["bce", "lsgan"])
@pytest.mark.parametrize("domain", [TARGET, torch.zeros(0, dtype=torch.long)])
def test_the_domain_loss_of_no_score_is_a_zero_that_carries_a_graph(kind, domain):
    layer = nn.Linear(3, 1)
    loss = domain_loss(scores=layer(torch.zeros(0, 3)).flatten(), domain=domain, kind=kind)
    loss.backward()
    assert loss.item() == 0
    assert layer.weight.grad.eq(0).all()


def test_a_very_sure_score_gives_a_finite_domain_loss():
    score = torch.tensor([-500.0], requires_grad=True)
    loss = domain_loss(scores=score, domain=TARGET, kind="bce")
    loss.backward()
    assert loss.item() == pytest.approx(500)
    assert score.grad.isfinite().all()


@pytest.mark.parametrize("domain", [SOURCE, TARGET])
def test_the_accuracy_counts_the_scores_on_the_side_of_the_domain(domain):
    scores = torch.randn(2, 1, 5, 7, requires_grad=True)
    right = sum((score > 0) == (domain == TARGET) for score in scores.flatten().tolist())
    accuracy = domain_accuracy(scores=scores, domain=domain)
    assert float(accuracy) == pytest.approx(right / scores.numel())
    assert not accuracy.requires_grad


def test_the_accuracy_of_four_scores_is_the_number_computed_by_hand():
    scores = torch.tensor([-2.0, -0.1, 0.3, -5.0])
    assert float(domain_accuracy(scores=scores, domain=SOURCE)) == 0.75
    assert float(domain_accuracy(scores=scores, domain=TARGET)) == 0.25


def test_a_discriminator_that_says_nothing_takes_everything_for_the_source():
    assert float(domain_accuracy(scores=torch.zeros(4), domain=SOURCE)) == 1
    assert float(domain_accuracy(scores=torch.zeros(4), domain=TARGET)) == 0
