import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loopda.losses.entropy import class_ratio, entropy, self_information


def softmax(scores):
    exponentials = [math.exp(score) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def pixels(probabilities):
    """Each pixel's probabilities, as a list."""
    batch, _, height, width = probabilities.shape
    return [probabilities[n, :, i, j].tolist() for n in range(batch) for i in range(height) for j in range(width)]


def naive_information(p):
    """-p_c log p_c / log K of each class c of one pixel."""
    return [-value * math.log(value) / math.log(len(p)) if value > 0 else 0.0 for value in p]


def naive_entropy(probabilities):
    values = [sum(naive_information(p)) for p in pixels(probabilities)]
    return sum(values) / len(values)


def naive_class_ratio(probabilities, prior, relax):
    every = pixels(probabilities)
    total = 0.0
    for c in range(len(prior)):
        mean = sum(p[c] for p in every) / len(every)
        total += max(0.0, relax * prior[c] - mean)
    return total


@st.composite
def predictions(draw):
    draws = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(1, 2)), draw(st.integers(2, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return (draw(st.sampled_from([1.0, 5.0])) * torch.randn(shape, generator=draws)).softmax(dim=1)


@given(predictions())
def test_self_information_is_minus_p_log_p_of_each_class_over_the_logarithm_of_their_number(probabilities):
    found = self_information(probabilities=probabilities)
    assert found.shape == probabilities.shape
    for informations, p in zip(pixels(found), pixels(probabilities), strict=True):
        assert informations == pytest.approx(naive_information(p), rel=1e-4, abs=1e-6)


@given(predictions())
def test_entropy_is_the_mean_over_pixels_of_the_sum_over_classes_and_lies_between_0_and_1(probabilities):
    found = float(entropy(probabilities=probabilities))
    assert found == pytest.approx(naive_entropy(probabilities), rel=1e-4, abs=1e-6)
    assert 0 <= found <= 1 + 1e-6


@given(predictions(), st.integers(0, 2**31), st.floats(0, 1))
def test_the_class_ratio_prior_sums_what_each_class_lacks_of_its_share(probabilities, seed, relax):
    prior = torch.rand(probabilities.shape[1], generator=torch.Generator().manual_seed(seed)) + 0.01
    prior = prior / prior.sum()
    found = float(class_ratio(probabilities=probabilities, prior=prior, relax=relax))
    assert found == pytest.approx(naive_class_ratio(probabilities, prior.tolist(), relax), rel=1e-4, abs=1e-6)


def test_entropy_is_1_where_all_classes_are_alike_and_0_where_one_is_certain():
    assert float(entropy(probabilities=torch.full((1, 4, 2, 3), 0.25))) == pytest.approx(1)
    certain = torch.zeros(1, 4, 2, 3)
    certain[:, 2] = 1
    assert float(entropy(probabilities=certain)) == 0


def test_a_single_class_is_sure_and_costs_nothing():
    p = torch.ones(2, 1, 3, 4, requires_grad=True)
    assert entropy(probabilities=p).item() == 0
    assert torch.equal(self_information(probabilities=p).detach(), torch.zeros(2, 1, 3, 4))


def test_the_entropy_of_one_pixel_is_the_number_computed_by_hand():
    # p = (1/2, 1/4, 1/4, 0) over 4 classes, in bits: (1/2 + 1/2 + 1/2 + 0) / 2
    p = torch.tensor([0.5, 0.25, 0.25, 0.0]).reshape(1, 4, 1, 1)
    assert self_information(probabilities=p).flatten().tolist() == pytest.approx([0.25, 0.25, 0.25, 0])
    assert float(entropy(probabilities=p)) == pytest.approx(0.75)


def test_the_class_ratio_of_two_pixels_is_the_number_computed_by_hand():
    # means (3/4, 1/4, 0) against half of the prior (1/2, 1/4, 1/4): only the last class lacks something, 1/8
    p = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]).T.reshape(1, 3, 1, 2)
    prior = torch.tensor([0.5, 0.25, 0.25])
    assert float(class_ratio(probabilities=p, prior=prior, relax=0.5)) == pytest.approx(0.125)
    assert float(class_ratio(probabilities=p, prior=prior, relax=1.0)) == pytest.approx(0.25)
    assert float(class_ratio(probabilities=p, prior=prior, relax=0.0)) == 0


def test_descending_along_the_entropy_makes_the_likeliest_class_likelier():
    logits = torch.tensor([1.0, 0.0, -0.5]).reshape(1, 3, 1, 1).requires_grad_()
    entropy(probabilities=logits.softmax(dim=1)).backward()
    assert logits.grad[0, 0] < 0
    assert (logits.grad[0, 1:] > 0).all()


def test_descending_along_the_class_ratio_raises_the_classes_that_are_too_rare_and_no_others():
    p = torch.tensor([0.9, 0.05, 0.05]).reshape(1, 3, 1, 1).requires_grad_()
    class_ratio(probabilities=p, prior=torch.tensor([0.5, 0.4, 0.1]), relax=0.5).backward()
    assert p.grad.flatten().tolist() == [0, -1, 0]


def test_a_class_of_probability_0_gives_numbers_and_finite_gradients():
    p = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).requires_grad_()
    loss = entropy(probabilities=p)
    loss.backward()
    assert loss.item() == 0
    assert p.grad.isfinite().all()


def test_the_entropy_of_no_image_is_a_zero_that_carries_a_graph():
    p = torch.zeros(0, 3, 4, 5, requires_grad=True)
    loss = entropy(probabilities=p)
    loss.backward()
    assert loss.item() == 0


def test_half_precision_probabilities_are_judged_in_single_precision():
    p = torch.tensor([0.999, 0.001]).reshape(1, 2, 1, 1).half()
    assert entropy(probabilities=p).dtype == torch.float32
    assert entropy(probabilities=p).isfinite()
